"""Does a chain of stages fit? Checked before Ray starts: every fault of every leg, listed together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from corpus.schema import ALL_COLUMNS, AUDIO, DEDUP, GIVEN, OUTCOME, PLAN, TRANSIENT
from stages.base import Stage
from stages.registry import StageError, build_stage, stage_class

if TYPE_CHECKING:
    from pipeline.config import DedupJob, Leg


@dataclass(frozen=True)
class Link:
    """A built stage with the name it has in the recipe and the pool it runs on."""

    name: str
    stage: Stage
    pool: str


def build_chain(leg: Leg) -> list[Link]:
    """The leg's stages, built. The recipe was checked before: StageError here is a bug."""
    return [Link(spec.use, build_stage(spec.use, spec.options), spec.pool) for spec in leg.stages]


def chain_problems(legs: Mapping[str, Leg], *, given: bool = False) -> list[str]:
    """Lines of `legs.<leg>.stages.<n>.<key>: what is wrong`, in recipe order; empty when all fits.

    `given`: the recipe's lists bring captions and scores of their own.
    """
    problems = _shape_problems(legs) + _scorer_problems(legs)
    known: dict[str, dict[str, pa.DataType]] = {}
    for name, leg in legs.items():
        before = _columns_before(name, leg, known, given=given)
        after, found = _walk(name, leg, before) if leg.job is None else _walk_job(name, leg.job, before)
        known[name] = after
        problems += found
        if given:
            problems += _stale_score_problems(name, leg)
    return problems


def _stale_score_problems(name: str, leg: Leg) -> list[str]:
    """A list's score is of the list's caption: beside another caption it would say nothing."""
    adds = [set(stage_class(spec.use).adds.names) for spec in leg.stages if _is_known(spec.use)]
    if any("caption" in names for names in adds) and not any("clap_score" in names for names in adds):
        return [
            f"legs.{name}.stages: captions anew what the list has captioned, and would leave the list's CLAP scores "
            "beside its own captions; add embed and score"
        ]
    return []


def _is_known(use: str) -> bool:
    try:
        stage_class(use)
    except StageError:
        return False  # said by _walk
    return True


def _shape_problems(legs: Mapping[str, Leg]) -> list[str]:
    problems = []
    roots = [name for name, leg in legs.items() if leg.after is None]
    if len(roots) != 1:
        problems.append(
            f"legs: exactly one leg starts from the plan (has no `after`), here {len(roots)}"
            f": {', '.join(roots) or 'none'}"
        )
    names = list(legs)
    for at, (name, leg) in enumerate(legs.items()):
        if leg.after is not None and leg.after not in names[:at]:
            problems.append(f"legs.{name}.after: no earlier leg is called {leg.after!r}")
    return problems


def _scorer_problems(legs: Mapping[str, Leg]) -> list[str]:
    """A caption can only be scored by the CLAP, and the options, that its sound was heard with."""
    problems = []
    heard_with: dict[str, Any] = {}
    for name, leg in legs.items():
        heard = heard_with.get(leg.after or "")
        for at, spec in enumerate(leg.stages):
            try:
                stage = build_stage(spec.use, spec.options)
            except StageError:
                continue  # said by _walk
            if not hasattr(stage, "clap"):
                continue
            own = (getattr(stage, "model", None), stage.clap)
            if "clap_audio_embedding" in stage.adds.names:
                heard = own
            elif heard is not None and own != heard:
                problems.append(
                    f"legs.{name}.stages.{at} ({spec.use}).model: {own[0]!r} with other options than embed's "
                    f"{heard[0]!r}: two models' scores and sounds do not meet; give both the same `model` and `clap`"
                )
        heard_with[name] = heard
    return problems


def _columns_before(
    name: str, leg: Leg, known: dict[str, dict[str, pa.DataType]], *, given: bool
) -> dict[str, pa.DataType]:
    """What the leg's first stage can read: the plan, or what earlier legs committed."""
    if leg.after is None:
        return {field.name: field.type for field in [*PLAN, *(GIVEN if given else ()), *OUTCOME]}
    committed = dict(known.get(leg.after, {}))
    committed.update({field.name: field.type for field in AUDIO})
    for field in TRANSIENT:
        committed.pop(field.name, None)
    return committed


def _walk(leg_name: str, leg: Leg, columns: dict[str, pa.DataType]) -> tuple[dict[str, pa.DataType], list[str]]:
    problems = []
    columns = dict(columns)
    passing: set[str] = set()  # columns that the leg does not commit
    readers: dict[str, str] = {}  # column -> the first stage of the leg that read it as it was before the leg
    added: set[str] = set()
    for at, spec in enumerate(leg.stages):
        place = f"legs.{leg_name}.stages.{at} ({spec.use})"
        try:
            stage = build_stage(spec.use, spec.options)
        except StageError as error:
            problems += [f"{place}.{line}" for line in error.problems]
            _assume_added(spec.use, columns)
            continue
        lacking = [name for name in stage.reads if name not in columns]
        if lacking:
            problems.append(f"{place}: reads {', '.join(lacking)}, which no earlier stage of this leg adds")
            # Said once: later stages that read the same are not at fault.
            columns.update({name: ALL_COLUMNS[name].type for name in lacking if name in ALL_COLUMNS})
        for field in stage.adds:
            had = columns.get(field.name)
            if had is not None and had != field.type:
                problems.append(f"{place}: adds {field.name} as {field.type}, but it is {had} already")
            if reader := readers.pop(field.name, None):
                problems.append(f"{place}: adds {field.name} too late, {reader} has read it; put it before {reader}")
            columns[field.name] = field.type
            added.add(field.name)
        readers |= {name: spec.use for name in stage.reads if name not in {*added, *readers}}
        passing.update(getattr(stage, "transient", ()))
    return {name: type_ for name, type_ in columns.items() if name not in passing}, problems


def _walk_job(
    leg_name: str, job: DedupJob, columns: dict[str, pa.DataType]
) -> tuple[dict[str, pa.DataType], list[str]]:
    after = columns | {field.name: field.type for field in DEDUP}
    if job.near and "fingerprint" not in columns:
        return after, [
            f"legs.{leg_name}.job: near copies are found by fingerprint: put `- use: fingerprint` in the leg that "
            "cuts, or set near: false"
        ]
    return after, []


def _assume_added(use: str, columns: dict[str, pa.DataType]) -> None:
    """After a stage with bad options, go on as if it were there: one mistake should not be reported twice."""
    try:
        adds = stage_class(use).adds
    except StageError:
        return
    for field in adds:
        columns.setdefault(field.name, field.type)
