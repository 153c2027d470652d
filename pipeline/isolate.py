"""Which clips of a unit kill the worker? Found by working its clips in halves.

    crashed = Isolation(clips, tries).run()      # clip id -> Crash; the unit lives when these are ended

Pure logic: `tries` works the clips, somewhere where a death does no harm (pipeline/trial.py). The unit as a whole is
what gets committed, with the clips found ended before the stage that they kill; halves only find them. So what
the others become does not depend on the search.

Three kinds of death are no clip's doing, and are told apart: one with no clip in hand (stages that cannot be opened),
one by a signal from outside, and a run of clips of several sources with none that survives. They raise SetupFault.
A unit that dies as a whole though each half survives raises UnitFault: it stays undone, with a sentence.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

log = logging.getLogger(__name__)

#: Steps of a worker that have no clip in hand.
READ, OPEN, COMMIT = "read", "open", "commit"

#: A death from outside says nothing of the clips: tried again this often. So is a unit whose halves survive.
TRIES = 3

#: A clip that is suspected of breaking everything is judged by this many others.
WITNESSES = 8

#: Part of a unit gets part of the stage's time, not less than this share. A clip is judged with all of it.
LEAST_SHARE = 1 / 16


class Clip(NamedTuple):
    clip_id: str
    source_id: str


@dataclass(frozen=True)
class Crash:
    """What is written to a clip that kills its worker: the stage it dies in, and a sentence."""

    stage: str
    detail: str


@dataclass(frozen=True)
class Death:
    """How a worker ended. `subject`: the clip or source it had in hand, where the stage said so."""

    stage: str
    cause: str  # "was ended by SIGSEGV", "was ended: decode took longer than 60 s"
    subject: str | None = None
    outside: bool = False  # somebody else's signal, or a machine that is out of memory


class SetupFault(Exception):
    """The worker dies whatever it is given. The message is for a person."""


class UnitFault(Exception):
    """This unit cannot be worked, and it is no clip's doing. The message is for a person."""


class Tries(Protocol):
    """A place to work clips in. Both answer with how the worker died, or None if it lives."""

    def whole(self, crashed: Mapping[str, Crash]) -> Death | None:
        """The unit, with `crashed` ended; what it becomes is kept by who tries."""

    def part(self, clips: Sequence[Clip], share: float) -> Death | None:
        """Some clips alone, with a share of the stages' time; what they become is dropped."""


@dataclass
class Streak:
    """Sources of clips that died, one after the other, with no survivor between; kept from unit to unit of a leg."""

    limit: int
    sources: set[str] = field(default_factory=set)

    @property
    def is_long(self) -> bool:
        return len(self.sources) >= self.limit


class Isolation:
    """The search in one unit (more exactly: in one group of stages of it)."""

    def __init__(self, unit_id: str, clips: Iterable[Clip], tries: Tries, streak: Streak) -> None:
        self._unit_id = unit_id
        self._clips = {clip.clip_id: clip for clip in clips}
        self._tries = tries
        self._streak = streak
        self._crashed: dict[str, Crash] = {}

    def run(self) -> dict[str, Crash]:
        """Work the unit until it lives; the clips that had to be ended for it. Raises SetupFault, UnitFault."""
        unexplained = 0
        while True:
            death = self._whole()
            if death is None:
                return self._crashed
            found = self._named(death) or self._halve(self._left(), death)
            if found:
                self._crashed.update(found)
                unexplained = 0
                continue
            unexplained += 1
            if unexplained >= TRIES:
                raise UnitFault(
                    f"unit {self._unit_id}: the worker {death.cause} in stage {death.stage}, {TRIES} times, but with "
                    "either half of its clips it does not; the unit is left undone (more memory, a longer "
                    "execution.stage_limit_s or smaller units may help)"
                )

    def _left(self) -> list[Clip]:
        return [clip for clip in self._clips.values() if clip.clip_id not in self._crashed]

    def _whole(self) -> Death | None:
        death = self._again_if_outside(lambda: self._tries.whole(self._crashed))
        if death is None and self._left():
            self._streak.sources.clear()
        if death is not None and death.stage in (READ, COMMIT):
            raise UnitFault(f"unit {self._unit_id}: the worker {death.cause} while it was to {death.stage} the unit")
        return death

    def _part(self, clips: Sequence[Clip], share: float) -> Death | None:
        death = self._again_if_outside(lambda: self._tries.part(clips, share))
        if death is None:
            self._streak.sources.clear()
        return death

    def _again_if_outside(self, attempt: _Attempt) -> Death | None:
        """What the attempt says, once it is not about the machine. Raises SetupFault for what no clip can do."""
        death = None
        for _ in range(TRIES):
            death = attempt()
            if death is None or not (death.outside or death.stage == OPEN):
                return death
            log.warning("unit %s: the worker %s; it is tried again", self._unit_id, death.cause)
        assert death is not None
        if death.stage == OPEN:
            raise SetupFault(f"the worker {death.cause} before it was given any clip, while it opened its stages")
        raise SetupFault(f"the worker {death.cause} {TRIES} times, in stage {death.stage}, unit {self._unit_id}")

    def _named(self, death: Death) -> dict[str, Crash]:
        """The clip that the dead worker had in hand, if it kills alone: most often the search ends here."""
        clip = self._clips.get(death.subject or "")
        if clip is None or clip.clip_id in self._crashed:
            return {}
        return self._judge(clip, self._part([clip], LEAST_SHARE))

    def _halve(self, clips: Sequence[Clip], death: Death) -> dict[str, Crash]:
        """The clips that kill, of some that kill together; none if they do not do so apart."""
        if len(clips) <= 1:
            return self._judge(clips[0], death) if clips else {}
        middle = len(clips) // 2
        found: dict[str, Crash] = {}
        for half in (clips[:middle], clips[middle:]):
            dead = self._part(half, max(len(half) / len(self._clips), LEAST_SHARE))
            if dead is not None:
                found.update(self._halve(half, dead))
        return found

    def _judge(self, clip: Clip, death: Death | None) -> dict[str, Crash]:
        """A clip is guilty when it kills twice, alone, the second time with all the time there is."""
        death = death and self._part([clip], 1.0)
        if death is None:
            return {}
        self._streak.sources.add(clip.source_id)
        if self._streak.is_long:
            self._hear_witnesses(clip, death)
        log.warning(
            "unit %s: clip %s: the worker %s in stage %s", self._unit_id, clip.clip_id, death.cause, death.stage
        )
        return {clip.clip_id: Crash(death.stage, f"the worker {death.cause} while it worked on this clip alone")}

    def _hear_witnesses(self, clip: Clip, death: Death) -> None:
        """Clips of many sources have died in a row: is there any that lives? Raises SetupFault if not."""
        others = [other for other in self._left() if other.source_id not in self._streak.sources]
        step = max(len(others) // WITNESSES, 1)
        for other in others[::step][:WITNESSES]:
            if self._part([other], 1.0) is None:
                return
        raise SetupFault(
            f"the worker {death.cause} in stage {death.stage} with each of the clips it was given alone, of "
            f"{len(self._streak.sources)} sources; the last: {clip.clip_id} of unit {self._unit_id}. If these clips "
            "are to blame and not the stage, raise execution.crashes_in_a_row"
        )


class _Attempt(Protocol):
    def __call__(self) -> Death | None: ...
