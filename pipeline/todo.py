"""What a leg has to do: planned units, and retries, that the leg before has committed and this one has not.

    share = Partition.parse("2/8")
    for wave in waves(todo, 1024): ...

One part of the plan is looked at at a time, so that memory does not grow with the plan. It is asked again when it is
at its end: a plan that is still being made, and a leg before that is still running, have more by then.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from corpus import attempts, plan_store, units
from corpus.plan_store import UnitInfo
from corpus.store import Store
from pipeline.config import Recipe
from pipeline.runfolder import OtherRun

#: Units that lie together in the plan go to one driver: a long source lies in consecutive ones, and is fetched once.
NEIGHBOURS = 16


@dataclass(frozen=True)
class Partition:
    """A driver's share of a run: the `number`-th of `of`, counted from 1."""

    number: int = 1
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Partition:
        """From `i/n`. ValueError for anything else."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ValueError(f"{text!r} is no share of a run: write i/n with i from 1 to n, e.g. 2/8")
        return cls(int(found[1]), int(found[2]))

    def has(self, unit_id: str) -> bool:
        """Whether the unit, or a retry of it, is of this share. Depends on its id alone."""
        part, number = unit_id.partition(".")[0].split("-")
        block = f"{part}-{int(number) // NEIGHBOURS}".encode()
        return int.from_bytes(hashlib.blake2b(block, digest_size=8).digest(), "big") % self.of == self.number - 1


@dataclass(frozen=True)
class PartWork:
    """A part of the plan as one leg sees it. `waiting`: units that the leg before has not committed."""

    part: str
    todo: list[UnitInfo]
    done: list[UnitInfo]
    waiting: list[UnitInfo]

    @property
    def planned(self) -> Iterator[UnitInfo]:
        yield from self.done
        yield from self.todo
        yield from self.waiting


@dataclass
class Todo:
    """What one driver's start of a leg has to do. Units in `given_up` are not offered again."""

    store: Store
    recipe: Recipe
    leg: str
    share: Partition = field(default_factory=Partition)
    given_up: set[str] = field(default_factory=set)
    _checked: set[str] = field(default_factory=set)

    def parts(self) -> Iterator[PartWork]:
        """Every planned part, in order."""
        for part in plan_store.planned_parts(self.store):
            yield self._look_at(part)

    def units(self) -> Iterator[UnitInfo]:
        """What can be done now, in plan order. OtherRun when the corpus was made from another plan."""
        for work in self.parts():
            self.refuse_other_plan(work)
            yield from (info for info in work.todo if info.unit_id not in self.given_up)

    def is_listed(self) -> bool:
        """Whether a plan of this run has begun."""
        return bool(plan_store.parts(self.store))

    def unplanned_parts(self) -> int:
        """Parts of the source list that have no clips yet: somebody is still planning, or must go on."""
        return len(set(plan_store.parts(self.store)) - set(plan_store.planned_parts(self.store)))

    def undone(self) -> int:
        """Planned units of this share that are not committed, given up ones included."""
        return sum(len(work.todo) + len(work.waiting) for work in self.parts())

    def _look_at(self, part: str) -> PartWork:
        work = PartWork(part, [], [], [])
        done = self._committed(self.leg, part)
        after = self.recipe.legs[self.leg].after
        ready = None if after is None else self._committed(after, part)
        for info in plan_store.units_of(self.store, part):
            if not self.share.has(info.unit_id):
                continue
            if info.unit_id in done:
                work.done.append(info)
            elif ready is None or info.unit_id in ready:
                work.todo.append(info)
            else:
                work.waiting.append(info)
        taken_up = set() if after is None else self._committed(self._leg_before(), part)
        for retry, begins_in in attempts.pending_retries(self.store, self._legs(), part, done).items():
            if self.share.has(retry):
                is_ready = begins_in == self.leg or retry in taken_up
                (work.todo if is_ready else work.waiting).append(attempts.retry_info(self.store, begins_in, retry))
        return work

    def _legs(self) -> list[str]:
        """This leg and those it starts from, root leg first."""
        legs = [self.leg]
        while (after := self.recipe.legs[legs[0]].after) is not None:
            legs.insert(0, after)
        return legs

    def _leg_before(self) -> str:
        """The leg whose retries this one takes up: not a job, which makes its columns of whole units anew."""
        return [leg for leg in self._legs()[:-1] if self.recipe.legs[leg].job is None][-1]

    def _committed(self, leg: str, part: str) -> set[str]:
        return units.done_work(self.store, leg, root=self.recipe.legs[leg].after is None, part=part)

    def refuse_other_plan(self, work: PartWork) -> None:
        """OtherRun when what is committed of the part was made from another plan; asked once a part."""
        is_root = self.recipe.legs[self.leg].after is None
        committed = work.done if is_root else [*work.done, *work.todo]
        if committed and work.part not in self._checked:
            refuse_other_plan(self.store, min(info.unit_id for info in committed))
            self._checked.add(work.part)


def refuse_other_plan(store: Store, unit_id: str) -> None:
    """OtherRun unless a committed unit was made from the plan's part as it is. One unit speaks for its part."""
    part = plan_store.part_of(unit_id)
    made_from = units.read_meta(store, units.root_path(unit_id)).get("autorecap.plan_part_sha256")
    if made_from != plan_store.part_sha256(store, part):
        raise OtherRun(
            f"{store.root}: part {part} of the plan is not the one that unit {unit_id} was made from; "
            "put the plan back, or start another run folder"
        )
