"""Units that were lost with their workers, one by one: worked again in trials until it is known what kills them.

    with Settling(job, recipe, streak) as settling:
        row = settling.settle("00000-00003")       # a summary row, as the Ray graph of a wave gives

The unit goes through the leg's groups of stages as in a wave, each group in a Trial; what is committed is the unit as
a whole, without the clips that kill. Innocent units, which were with a worker that another one killed, are done here
once and committed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from pipeline.config import Recipe
from pipeline.isolate import READ, TRIES, Clip, Crash, Death, Isolation, Streak, UnitFault
from pipeline.legjob import LegJob, summary
from pipeline.nodes import ask_nodes, at, nodes
from pipeline.tries import last_begun_s
from pipeline.worker import UnitTally

log = logging.getLogger(__name__)

#: The time that a trial is given to end its process. It ends in any case.
CLOSE_S = 10.0


class Settling:
    """Holds one trial for each group of stages, made when the first unit needs it.

    Of a cluster's nodes the first group is tried on the one that began the unit last: there its media may be.
    """

    def __init__(self, job: LegJob, recipe: Recipe, streak: Streak) -> None:
        self._job, self._recipe, self._streak = job, recipe, streak
        self._trials: dict[int, Any] = {}
        self._node_id: str | None = None  # where the first group's trial is, or shall be

    def settle(self, unit_id: str) -> dict[str, Any]:
        """The unit's summary row: committed, or with an error that says why not. Raises SetupFault."""
        from ray.exceptions import ObjectLostError, RayActorError

        try:
            return self._settle(unit_id)
        except UnitFault as fault:
            error = str(fault)
        except (ObjectLostError, RayActorError) as lost:  # what the groups before have made went with its node
            said = " ".join(str(lost).split())[:600]
            error = (
                f"unit {unit_id}: it was lost again while it was worked by itself, with a node or Ray's own ({said})"
            )
        return _first_row(summary(UnitTally(unit_id, error=error), won=False, outcomes={}, audio_ms=0))

    def _settle(self, unit_id: str) -> dict[str, Any]:
        import ray

        self._go_to(node_of(self._job.run_root, unit_id))
        unit = self._read(unit_id)
        for group in range(len(self._job.groups)):
            tries = _Tries(self, group, unit)
            clips = ray.get(self.trial(group).live.remote(unit))
            crashed = Isolation(unit_id, clips, tries, self._streak).run()
            for clip_id, crash in crashed.items():
                log.error("unit %s: clip %s ends as crashed in stage %s: %s", unit_id, clip_id, *_said(crash))
            unit = tries.made
        return _first_row(ray.get(unit))

    def _read(self, unit_id: str) -> Any:
        death: Death | None = None
        for _ in range(TRIES):
            death, unit = self.ask(0, "read", unit_id)
            if death is None:
                return unit
        assert death is not None
        raise UnitFault(f"unit {unit_id}: the worker {death.cause} while it was to {READ} the unit")

    def _go_to(self, node_id: str | None) -> None:
        """Have the next unit tried there; a trial that is elsewhere is given up."""
        if node_id is not None and node_id != self._node_id:
            self._node_id = node_id
            if 0 in self._trials:
                _end(self._trials.pop(0))

    def trial(self, group: int) -> Any:
        """The group's trial, with what a worker of the group is given."""
        if group not in self._trials:
            import ray

            from pipeline.graph import pool_resources, task_resources
            from pipeline.trial import Trial

            pool = self._job.groups[group].pool
            if pool is None:
                asked = task_resources(self._job, self._recipe.execution)
            else:
                asked = pool_resources(self._job, group, self._recipe.pool(pool))
            if group == 0 and self._node_id is not None:
                asked = {**asked, "scheduling_strategy": at(self._node_id, soft=True)}
            self._trials[group] = ray.remote(Trial).options(max_restarts=0, **asked).remote(self._job, group)
        return self._trials[group]

    def ask(self, group: int, verb: str, *asked: Any) -> tuple[Death | None, Any]:
        """How the process died, and where what it made lies (an object of Ray's)."""
        import ray

        death, made = getattr(self.trial(group), verb).options(num_returns=2).remote(*asked)
        try:
            return ray.get(death), made
        except ray.exceptions.RayActorError as error:  # the node, or Ray's own process there
            del self._trials[group]
            said = " ".join(str(error).split())[:600]
            return Death(verb, f"was lost with the process that watched it ({said})", outside=True), None

    def __enter__(self) -> Settling:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for trial in self._trials.values():
            _end(trial, wait=kind is None)


class _Tries:
    """A unit before a group of stages, and what the group made of it when it lived."""

    def __init__(self, settling: Settling, group: int, unit: Any) -> None:
        self._settling, self._group, self._unit = settling, group, unit
        self.made: Any = None

    def whole(self, crashed: Mapping[str, Crash]) -> Death | None:
        death, self.made = self._settling.ask(self._group, "whole", self._unit, dict(crashed))
        return death

    def part(self, clips: Sequence[Clip], share: float) -> Death | None:
        return self._settling.ask(self._group, "part", self._unit, [clip.clip_id for clip in clips], share)[0]


def node_of(run_root: str, unit_id: str) -> str | None:
    """The node that began a lost unit last; None where there is one node only, or none knows of it."""
    if len(nodes()) < 2:
        return None
    answers, _ = ask_nodes(last_begun_s, run_root, unit_id)
    node, begun_s = max(answers.items(), key=lambda item: item[1], default=(None, 0.0))
    return node.node_id if node is not None and begun_s else None


def _end(trial: Any, *, wait: bool = True) -> None:
    import ray

    if wait:
        ray.wait([trial.close.remote()], timeout=CLOSE_S)
    ray.kill(trial)


def _said(crash: Crash) -> tuple[str, str]:
    return crash.stage, crash.detail


def _first_row(rows: Any) -> dict[str, Any]:
    return dict(rows.to_pylist()[0])
