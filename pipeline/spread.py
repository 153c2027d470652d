"""Run plain functions here or on Ray, with the same result: small corpora need no cluster, tests no Ray.

spread = OnRay(address, cpus)          # or Here()
block = spread.put(big)                # a value that many calls read
for result in spread.each(function, [(block, 1), (block, 2)]): ...
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol


class Spread(Protocol):
    """`put` values come to functions as they are; `hold` gives results to pass on without looking at them."""

    def put(self, value: Any) -> Any: ...

    def hold(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any: ...

    def each(self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]: ...


class Here:
    """In this process, one call after the other."""

    def put(self, value: Any) -> Any:
        return value

    def hold(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        return function(*arguments)

    def each(self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        return (function(*arguments) for arguments in calls)


class OnRay:
    """On Ray's workers. Results come in the order of the calls; twice as many calls as CPUs are under way."""

    def __init__(self, address: str | None, cpus: int | None, retries: int) -> None:
        from pipeline.engine import ensure_ray

        ensure_ray(address, cpus)
        import ray

        self._ray, self._retries = ray, retries
        self._under_way = 2 * max(int(ray.cluster_resources().get("CPU", 1)), 1)
        self._remote: dict[Callable[..., Any], Any] = {}

    def put(self, value: Any) -> Any:
        return self._ray.put(value)

    def hold(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if function not in self._remote:
            self._remote[function] = self._ray.remote(max_retries=self._retries)(function)
        return self._remote[function].remote(*arguments)

    def each(self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        waiting: deque[Any] = deque()
        for arguments in calls:
            if len(waiting) == self._under_way:
                yield self._ray.get(waiting.popleft())
            waiting.append(self.hold(function, arguments))
        while waiting:
            yield self._ray.get(waiting.popleft())
