"""What a stage is: a small class whose fields are its configuration; columns in, columns out.

    @dataclass(frozen=True, kw_only=True)
    class Loud:
        min_rms_dbfs: Annotated[float, Le(0)] = -60.0   # a key of the recipe, units in its name

        reads: ClassVar = ("rms_dbfs",)
        adds: ClassVar = pa.schema([])

        def needs(self) -> Needs: return Needs()
        def open(self, services: Services) -> None: ...
        def run(self, clips: pa.Table) -> pa.Table: ...
        def close(self) -> None: ...

The runner hands `run` the live rows of one unit, in planned order. It returns as many rows in the same order,
with the columns of `adds` set (and, to end a clip, the outcome columns: see `Ending`). A stage never raises
for a bad clip; an exception is a bug and stops the unit. Stages never import Ray.

Two attributes are optional: `changes`, columns of earlier stages that this one may set anew, and `transient`,
columns of `adds` that live only while the leg runs and are not committed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import pyarrow as pa

from stages.governor import Asked

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What one worker of a stage takes: CPU cores, GPUs (fractions allowed), memory, and whether it holds a model.

    A stage with `model=True` lives on an actor (weights are loaded once); the others run in plain tasks.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int = 0
    model: bool = False


class Watch(Protocol):
    """`with services.watch("decode", clip_id, limit_s=60.0): ...`: a wall-clock limit on what may hang in native code.

    Past the limit the worker process is ended, with every process that it has started; that counts as a crash of the
    clip (or source) named. Of nested ones the innermost counts, and when it ends the clock of the outer one starts
    anew: a stage may take its limit from one sign of life to the next. Without a limit it is waited for ever.
    """

    def __call__(
        self, what: str, subject: str | None = None, *, limit_s: float | None = None
    ) -> AbstractContextManager[None]: ...


def unwatched(what: str, subject: str | None = None, *, limit_s: float | None = None) -> AbstractContextManager[None]:
    """Nobody watches: a stage that is used by itself, outside of a worker."""
    return nullcontext()


class Metrics:
    """Figures for whoever watches a run (docs/metrics.md); this one forgets them: a stage that is used by itself."""

    def count(self, name: str, value: float = 1.0, **tags: str) -> None:
        """Add to a counter, per unit or per download, never per clip. `tags`: few values, no ids, no URLs."""


@dataclass(kw_only=True)
class Services:
    """What a stage may use of the run it is part of. One per worker process."""

    run_root: str  # local path or fsspec URL of the run folder
    cache_dir: Path  # on this node; survives a crash of the worker
    device: str = "cpu"  # "cpu" or "cuda"
    threads: int = 1  # CPU threads a model may use
    ytdlp: Mapping[str, Any] = field(default_factory=dict)  # the recipe's `ytdlp` section, as plain values
    watch: Watch = unwatched
    metrics: Metrics = field(default_factory=Metrics)
    governor: Asked | None = None  # None: a stage by itself keeps its own pace


@runtime_checkable
class Stage(Protocol):
    """See the module's text. `reads` and `adds` are class constants; fields are configuration."""

    reads: ClassVar[tuple[str, ...]]
    adds: ClassVar[pa.Schema]

    def needs(self) -> Needs: ...

    def open(self, services: Services) -> None: ...

    def run(self, clips: pa.Table) -> pa.Table: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Ending:
    """Why a clip ends here. `reason` is one short fixed word; `detail` one sentence for a person."""

    outcome: str  # filtered, merged, failed
    reason: str
    detail: str = ""


def with_columns(clips: pa.Table, columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """`clips` with each of `columns` (lists or Arrow arrays, one value a row) set, typed by `schema`."""
    for name, values in columns.items():
        typed = schema.field(name)
        array = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values, type=typed.type)
        at = clips.schema.get_field_index(name)
        clips = clips.set_column(at, typed, array) if at >= 0 else clips.append_column(typed, array)
    return clips


def with_endings(clips: pa.Table, endings: Sequence[Ending | None]) -> pa.Table:
    """`clips` with outcome, reason and detail set where `endings` has one; None leaves the clip live."""
    from corpus.schema import OUTCOME

    return with_columns(
        clips,
        {
            "outcome": [e.outcome if e else None for e in endings],
            "reason": [e.reason if e else None for e in endings],
            "detail": [(e.detail or None) if e else None for e in endings],
        },
        OUTCOME,
    )
