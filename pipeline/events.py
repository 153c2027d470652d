"""What a leg tells as it runs: it begins, a unit is done, it ends; and the exception for a leg that gives up."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.worker import UnitTally


class LegStopped(Exception):
    """The leg gave up; the message says why. What was committed stays."""


@dataclass(frozen=True)
class PoolShare:
    """Stages of a leg that some workers hold together."""

    name: str
    workers: int
    stages: tuple[str, ...]


@dataclass(frozen=True)
class LegStart:
    """A leg begins: how much there is and how much is done already."""

    leg: str
    units: int
    units_done: int
    clips: int
    clips_done: int
    audio_ms: int
    stages: tuple[str, ...]
    pools: tuple[PoolShare, ...] = ()


@dataclass(frozen=True)
class UnitDone:
    """A unit was committed (or not: `error`)."""

    leg: str
    unit_id: str
    clips: int
    outcomes: dict[str, int]
    audio_ms: int
    tally: UnitTally

    @property
    def error(self) -> str | None:
        return self.tally.error


@dataclass
class LegEnd:
    """A leg has no more to do for now. `undone` = planned for this leg but not committed."""

    leg: str
    seconds: float
    committed: int
    undone: int
    errors: list[str] = field(default_factory=list)
