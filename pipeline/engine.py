"""Start or join Ray, quietly: no dashboard, no usage reports, no progress bars but ours."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.room import lacking

if TYPE_CHECKING:
    from pipeline.config import Pool, Recipe

log = logging.getLogger(__name__)

#: The packages a worker on another machine needs; sent by `working_dir` when joining a cluster.
PACKAGES = ("audio", "corpus", "scorer", "training", "generation", "captioner", "genau", "stages", "pipeline")


class NoRay(Exception):
    """Ray could not be started or joined; the message is for a person."""


def ray_for(recipe: Recipe) -> None:
    """The Ray that a recipe's `execution` asks for, with the code of its own stages. Nothing when Ray runs already."""
    from pipeline.user_code import user_modules

    execution = recipe.execution
    ensure_ray(
        execution.ray_address,
        execution.cpus,
        modules=user_modules(recipe) if execution.ray_address else (),
        metrics_port=execution.metrics_port,
    )


def ensure_ray(
    address: str | None = None,
    num_cpus: int | None = None,
    *,
    modules: Sequence[Path] = (),
    metrics_port: int | None = None,
) -> None:
    """Start a local Ray, or join the cluster at `address` ("auto" or ray://...). Does nothing when Ray runs already.

    A local Ray finds this code where it lies; a cluster gets it by `working_dir`, which changes the workers' folder:
    every path a worker sees must be absolute. `modules` (folders or .py files) are sent to a cluster besides.
    `metrics_port`: where a local Ray's agent answers Prometheus; a cluster's nodes have theirs from `ray start`.
    Raises NoRay.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        _start(ray, address, num_cpus, modules, metrics_port)
    except Exception as error:  # Ray raises whatever it likes, Exception itself among others
        raise NoRay(_why_no_ray(address, error)) from error
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():  # Ray puts its own in place; ours stop a run in good order
            signal.signal(number, handler)
    log.info("ray: %s", ray.cluster_resources())


def _why_no_ray(address: str | None, error: Exception) -> str:
    said = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
    if address is None:
        return f"a local Ray cannot be started ({said}); on a machine under heavy load the same command may go later on"
    return f"the Ray at execution.ray_address {address} cannot be joined ({said}); see with: ray status"


def _start(
    ray: Any, address: str | None, num_cpus: int | None, modules: Sequence[Path], metrics_port: int | None
) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # Ray's C++ side writes notes on its own design to the terminal as errors. Set this to see them again.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        with _stderr_of_c_code_shut():
            _start_local(ray, num_cpus, metrics_port, quiet)
    else:
        ray.init(address=address, runtime_env=_code_for_workers(modules), **quiet)


def _start_local(ray: Any, num_cpus: int | None, metrics_port: int | None, quiet: dict[str, Any]) -> None:
    """A Ray of our own ("local"): without the word Ray would join whatever cluster runs here or RAY_ADDRESS names.

    Its servers listen on every interface of the machine; its token (made in the home folder) keeps others out.
    """
    ray.init(
        address="local",
        num_cpus=num_cpus,
        include_dashboard=False,
        object_store_memory=_object_store_bytes(),
        _metrics_export_port=metrics_port,
        **quiet,
    )


@contextmanager
def _stderr_of_c_code_shut() -> Iterator[None]:
    """While Ray starts, its C++ side tells the terminal which log level it was given; an error is raised in Python."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def stop_ray() -> None:
    """Leave Ray; a local instance and its workers end with it."""
    import ray

    if ray.is_initialized():
        ray.shutdown()


def _object_store_bytes() -> int:
    """A tenth of the memory, between 200 MB and 4 GB: blocks in flight are few and bounded."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(min(max(memory // 10, 200_000_000), 4_000_000_000))


def _code_for_workers(modules: Sequence[Path] = ()) -> dict[str, Any]:
    """The runtime environment that carries this code, and the user's; a submitted job keeps the folder it came with."""
    sent: dict[str, Any] = {"py_modules": [str(path) for path in modules]} if modules else {}
    if "working_dir" in _submitted_runtime_env():  # Ray refuses a second one
        return sent
    root = Path(__file__).resolve().parent.parent
    keep = {*PACKAGES, "configs", "pyproject.toml"}
    others = [f"/{entry.name}" for entry in root.iterdir() if entry.name not in keep]
    return {"working_dir": str(root), "excludes": others, **sent}


def _submitted_runtime_env() -> dict[str, Any]:
    """What `ray job submit` (KubeRay does so, too) has set for the job that this driver is; {} for no such job."""
    config: dict[str, Any] = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    return config.get("runtime_env") or {}


def say_what_is_lacking(recipe: Recipe, leg: str, pools: Iterable[Pool]) -> None:
    """Warn of nodes that the leg waits for. Ray runs."""
    import ray

    for line in lacking(leg, recipe.execution, pools, ray.cluster_resources()):
        log.warning("%s", line)


def cluster_gpus(recipe: Recipe) -> float:
    """How many GPUs Ray sees; starts or joins Ray."""
    ray_for(recipe)
    import ray

    return float(ray.cluster_resources().get("GPU", 0.0))
