"""Packing a part's planned sources into units of clips, as tables of the plan.

A unit takes whole sources while they fit into `unit_clips`; one that does not fit starts the next unit. A
source longer than a unit fills consecutive units, and its rest shares the last of them with what follows.
Clips stay in the order of their sources, so that a unit is a run of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from corpus.schema import GIVEN, PLAN, SOURCE, SOURCES

MAX_UNITS = 100_000  # five digits in a unit's id

_Ints = npt.NDArray[np.int64]


def pack(sizes: Iterable[int], unit_clips: int) -> list[int]:
    """How many clips each unit has, from how many each source has."""
    units: list[int] = []
    room = 0
    for left in sizes:
        if left > room and room < unit_clips:
            room = 0  # whole sources stay together where they fit into a unit of their own
        while left:
            if room == 0:
                units.append(0)
                room = unit_clips
            taken = min(room, left)
            units[-1] += taken
            room -= taken
            left -= taken
    return units


def part_tables(part: str, planned: pa.Table, unit_clips: int, *, given: bool = False) -> tuple[pa.Table, pa.Table]:
    """(clips as PLAN, and as GIVEN besides if the plan is `given`; sources as SOURCES) of a part.

    `planned`: PLANNED of pipeline/plan_source.py, in listed order. ValueError for more units than a part can have, and
    for captions or scores in a plan that has no columns for them.
    """
    sizes = pc.fill_null(pc.list_value_length(planned.column("clips")), 0).to_numpy().astype(np.int64)
    units = pack(sizes.tolist(), unit_clips)
    if len(units) > MAX_UNITS:
        raise ValueError(f"part {part} has {len(units)} units; {MAX_UNITS} fit: lower plan.sources_per_part")
    unit_ids = pa.array([f"{part}-{number:05d}" for number in range(len(units))], pa.string())
    lengths = np.asarray(units, dtype=np.int64)
    unit_of_clip = np.repeat(np.arange(len(units)), lengths)
    first_unit, last_unit = _units_of_sources(sizes, unit_of_clip)
    schema = pa.schema([*PLAN, *GIVEN]) if given else PLAN
    clips = _clips(planned, sizes, unit_ids, unit_of_clip, lengths, last_unit - first_unit + 1)
    lost = [name for name in GIVEN.names if not given and clips.column(name).null_count < clips.num_rows]
    if lost:
        raise ValueError(
            f"part {part}: its list brings {', '.join(lost)}, but this plan was begun with lists that do not, and all "
            "its clips have the same columns: plan this list in a run folder of its own (--set run=...)"
        )
    return clips.select(schema.names).cast(schema), _sources(
        planned, sizes, unit_ids.take(pa.array(first_unit, mask=sizes == 0))
    )


def _units_of_sources(sizes: _Ints, unit_of_clip: _Ints) -> tuple[_Ints, _Ints]:
    """The first and last unit of each source; -1 for one without clips."""
    ends = np.cumsum(sizes)
    has = sizes > 0
    first, last = np.full(len(sizes), -1), np.full(len(sizes), -1)
    first[has], last[has] = unit_of_clip[(ends - sizes)[has]], unit_of_clip[ends[has] - 1]
    return first, last


def _clips(
    planned: pa.Table, sizes: _Ints, unit_ids: pa.Array, unit_of_clip: _Ints, lengths: _Ints, spread: _Ints
) -> pa.Table:
    source = pa.array(np.repeat(np.arange(len(sizes)), sizes))
    said = planned.select(["source_id", "source_key", *SOURCE.names, "media", "caption_model", "clap_model"])
    rows = said.take(source)
    given = pc.list_flatten(planned.column("clips"))
    times = {name: pc.struct_field(given, name) for name in ("start_ms", "end_ms")}
    ids = [rows.column("source_id"), *(pc.cast(values, pa.string()) for values in times.values())]
    columns: dict[str, Any] = {
        **{name: rows.column(name) for name in rows.column_names},
        **times,
        "clip_id": pc.binary_join_element_wise(*ids, "_"),
        "unit_id": unit_ids.take(pa.array(unit_of_clip)),
        "row": np.arange(len(unit_of_clip)) - np.repeat(np.cumsum(lengths) - lengths, lengths),
        "source_units": pa.array(np.repeat(spread, sizes)),
    }
    columns |= {"caption": pc.struct_field(given, "caption"), "clap_score": pc.struct_field(given, "clap_score")}
    for model, of in (("caption_model", "caption"), ("clap_model", "clap_score")):
        columns[model] = pc.if_else(columns[of].is_valid(), columns[model], None)
    return pa.table(columns)


def _sources(planned: pa.Table, sizes: _Ints, first_unit: pa.Array) -> pa.Table:
    columns = {
        "clips": sizes,
        "first_unit": first_unit,
        "attempt": np.zeros(len(sizes), dtype=np.int16),
    }
    arrays = [columns[name] if name in columns else planned.column(name) for name in SOURCES.names]
    return pa.table(arrays, names=SOURCES.names).cast(SOURCES)
