"""From the corpus to a view: which rows are kept, decided on narrow columns; and what a kept row looks like.

Both look at one group (corpus/groups.py) at a time, so memory does not grow with the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpus.expression import Filter
from corpus.groups import Group
from corpus.narrow import CAPTIONED, DURATION, HEAD, MEASURED_BY, OK, SOURCE, duration_ms
from corpus.schema import MEMBER
from corpus.view_joins import Bools, Ints, Joins, column, put, replaced
from corpus.view_query import Wanted

#: Read as dictionaries where rows are decided: few values, told apart by number.
DICTIONARIES = ("clap_model",)

_JOINED = ("joined_end_ms", HEAD)


# -- deciding


@dataclass
class Kept:
    """The rows of one group that a view keeps, and sums over them."""

    positions: Ints
    milliseconds: int = 0
    audio_bytes: int = 0
    joined: int = 0
    without_caption: int = 0
    duplicates_left_out: int = 0
    without_audio: int = 0
    models: set[str] = field(default_factory=set)
    sources: int = 0
    ends: tuple[str, str] | None = None  # the sources of the first and of the last row


def decide(group: Group, wanted: Wanted, ends: Sequence[int]) -> Kept:
    """`ends`: the legs (by number) whose outcome counts; a clip must be ok in each."""
    admitted, without_audio = _admitted(group, ends, wanted.query.include_filtered)
    joins = None
    if _has_joins(group) and (joined := group.read(_JOINED)).column(0).null_count < group.rows:
        joins = Joins.of_narrow(admitted, joined)
    durations = _durations(group, joins)
    mask = admitted & _scores_suffice(group, wanted)
    if wanted.query.min_duration_s is not None:
        mask &= durations > round(wanted.query.min_duration_s * 1000)
    if wanted.where is not None:
        mask &= _where_holds(group, wanted.where, durations, joins is not None)
    left_out = 0
    if wanted.leaves_duplicates_out:
        unique = pc.fill_null(group.read(["dup_keep"]).column(0), True).to_numpy()
        left_out = int(np.count_nonzero(mask & ~unique))
        mask &= unique
    kept = Kept(np.flatnonzero(mask), duplicates_left_out=left_out, without_audio=without_audio)
    if len(kept.positions):
        _add_sums(kept, group, mask, durations, joins)
    return kept


def _admitted(group: Group, ends: Sequence[int], reasons: Sequence[str]) -> tuple[Bools, int]:
    """Clips that are ok, or were filtered for one of `reasons` and have audio; and how many such have none."""
    oks = [group.read_leg(at, [OK]).column(0).to_numpy() for at in ends]
    ok = np.logical_and.reduce(oks)
    if not reasons:
        return ok, 0
    admitted = np.ones(group.rows, dtype=bool)
    for at, own in zip(ends, oks, strict=True):
        said = group.read_leg(at, ["outcome", "reason"])
        filtered = pc.fill_null(pc.equal(said.column("outcome"), "filtered"), False)
        is_asked = pc.is_in(said.column("reason"), value_set=pa.array(reasons, pa.string()))
        admitted &= own | pc.and_(filtered, is_asked).to_numpy()
    has_audio = _column(group, "tar_size").is_valid().to_numpy()
    return admitted & (ok | has_audio), int(np.count_nonzero(admitted & ~ok & ~has_audio))


def _durations(group: Group, joins: Joins | None) -> Ints:
    if any(group.owner(name) not in (None, 0) for name in MEASURED_BY):
        table = group.read([name for name in MEASURED_BY if group.owner(name) is not None])
        durations = duration_ms(table, column(table, "num_samples", pa.int64())).to_numpy().copy()
    else:
        durations = group.read([DURATION]).column(0).to_numpy().copy()
    if joins is not None and len(joins.heads):
        samples = _column(group, "num_samples").cast(pa.int64()).take(pa.array(joins.rows))
        names = ["start_ms", "joined_end_ms", *_there(group, "sample_rate_hz")]
        heads = group.read(names).take(pa.array(joins.heads)).rename_columns(["start_ms", "end_ms", *names[2:]])
        durations[joins.heads] = duration_ms(heads, joins.sums(samples)).to_numpy()
    return durations  # type: ignore[no-any-return]


def _scores_suffice(group: Group, wanted: Wanted) -> Bools | bool:
    query = wanted.query
    if not query.thresholds and query.clap_min is None:
        return True
    scores = group.read(["clap_score"]).column(0).to_numpy()  # null: not a number, which is at least nothing
    enough = np.ones(group.rows, dtype=bool)
    if query.clap_min is not None:
        enough &= scores >= np.float32(query.clap_min)
    if query.thresholds:
        at = 0
        for chunk in group.read(["clap_model"]).column(0).chunks:
            least = [query.thresholds.get(model, np.inf) for model in chunk.dictionary.to_pylist()]
            by_code = np.array([*least, np.inf], dtype=np.float32)
            enough[at : at + len(chunk)] &= scores[at : at + len(chunk)] >= by_code[_codes(chunk)]
            at += len(chunk)
    return enough


def _codes(chunk: pa.DictionaryArray) -> Ints:
    """Places in the chunk's dictionary; for null the one after the last."""
    codes = pc.fill_null(chunk.indices.cast(pa.int64()), len(chunk.dictionary))
    return codes.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _where_holds(group: Group, where: Filter, durations: Ints, joins: bool) -> Bools:
    stored = [name for name in where.columns if name != "duration_ms"]
    table = group.read(stored) if stored else pa.table({"duration_ms": durations})
    for name in stored:
        if pa.types.is_dictionary(table.schema.field(name).type):
            table = put(table, name, table.column(name).cast(pa.string()))
    if joins and "end_ms" in stored:
        joined_end = group.read(["joined_end_ms"]).column(0)
        table = put(table, "end_ms", pc.coalesce(joined_end, table.column("end_ms")))
    table = put(put(table, "duration_ms", pa.array(durations)), "_position", pa.array(np.arange(group.rows)))
    holds = np.zeros(group.rows, dtype=bool)
    holds[table.filter(where.expression).column("_position").to_numpy()] = True
    return holds


def _add_sums(kept: Kept, group: Group, mask: Bools, durations: Ints, joins: Joins | None) -> None:
    kept.milliseconds = int(durations[mask].sum())
    sizes = _column(group, "tar_size").cast(pa.int64())
    if joins is not None:
        kept.joined = int(np.count_nonzero(mask[joins.heads]))
        sizes = replaced(sizes, joins.heads, joins.sums(sizes.take(pa.array(joins.rows))))
    kept.audio_bytes = int(pc.fill_null(sizes, 0).to_numpy()[mask].sum())
    captioned = group.read([CAPTIONED]).column(0).to_numpy() if group.owner(CAPTIONED) is not None else ~mask
    kept.without_caption = int(np.count_nonzero(mask & ~captioned))
    at = 0
    for chunk in _column(group, "clap_model").chunks if group.owner("clap_model") is not None else ():
        here = np.bincount(_codes(chunk)[mask[at : at + len(chunk)]], minlength=len(chunk.dictionary))
        kept.models |= {model for model, count in zip(chunk.dictionary.to_pylist(), here, strict=False) if count}
        at += len(chunk)
    numbers = group.read([SOURCE]).column(0).to_numpy()[mask]
    kept.sources = int(np.count_nonzero(np.diff(numbers))) + 1
    first, last = (group.read(["source_id"], kept.positions[at : at + 1 or None]) for at in (0, -1))
    kept.ends = (first.column(0)[0].as_py(), last.column(0)[0].as_py())


class Counts:
    """Sums over the kept clips, group by group in plan order."""

    def __init__(self) -> None:
        self.clips = self.milliseconds = self.sources = self.joined = self.without_caption = self.audio_bytes = 0
        self.duplicates_left_out = self.without_audio = 0
        self._models: set[str] = set()
        self._last_source: str | None = None

    def add(self, kept: Kept) -> None:
        self.duplicates_left_out += kept.duplicates_left_out
        self.without_audio += kept.without_audio
        self.clips += len(kept.positions)
        for name in ("milliseconds", "audio_bytes", "joined", "without_caption"):
            setattr(self, name, getattr(self, name) + getattr(kept, name))
        self._models |= kept.models
        if kept.ends is not None:  # a source's clips stand together, but may go on in the next group
            self.sources += kept.sources - (kept.ends[0] == self._last_source)
            self._last_source = kept.ends[1]

    def as_json(self) -> dict[str, Any]:
        return {
            "clips": self.clips,
            "hours": round(self.milliseconds / 3_600_000, 6),
            "sources": self.sources,
            "joined": self.joined,
            "duplicates_left_out": self.duplicates_left_out,
            "without_audio": self.without_audio,
            "without_caption": self.without_caption,
            "audio_bytes": self.audio_bytes,
            "clap_models": sorted(self._models),
        }


# -- what a kept row looks like


def rows_at(group: Group, schema: pa.Schema, positions: Ints) -> pa.Table:
    """The rows of a view that are at `positions` (ascending, all of them kept by it)."""
    asked = set(schema.names)
    names = [name for name in schema.names if name not in ("duration_ms", "audio_bytes", "members")]
    if "duration_ms" in asked:
        names += [name for name in MEASURED_BY if name not in asked]
    if "audio_bytes" in asked and "tar_size" not in asked:
        names.append("tar_size")
    table = group.read(_there(group, *names), positions)
    joins = _joins_at(group, positions)
    samples, sizes = column(table, "num_samples", pa.int64()), column(table, "tar_size", pa.int64())
    members: Any = pa.nulls(len(positions), schema.field("members").type if "members" in asked else pa.null())
    if joins is not None:
        columns = _in_order(group, _there(group, *MEMBER.names), joins.rows)
        places = np.searchsorted(positions, joins.heads)
        samples = replaced(samples, places, joins.sums(column(columns, "num_samples", pa.int64())))
        sizes = replaced(sizes, places, joins.sums(column(columns, "tar_size", pa.int64())))
        members = joins.members(places, len(positions), columns)
        if "end_ms" in table.column_names:
            joined_end = group.read(["joined_end_ms"], positions).column(0)
            table = put(table, "end_ms", pc.coalesce(joined_end, table.column("end_ms")))
    if "duration_ms" in asked:
        table = put(table, "duration_ms", duration_ms(table, samples))
    computed = {"num_samples": samples, "audio_bytes": sizes, "members": members}
    for name, values in computed.items():
        table = put(table, name, values)
    return pa.table([column(table, typed.name, typed.type) for typed in schema], schema=schema)


def _joins_at(group: Group, positions: Ints) -> Joins | None:
    """The joins whose heads are at `positions`."""
    if not _has_joins(group):
        return None
    joined = group.read_once(_JOINED)
    admitted = np.zeros(group.rows, dtype=bool)
    admitted[positions] = True
    joins = Joins.of_narrow(admitted, joined)
    return joins if len(joins.heads) else None


def _in_order(group: Group, names: Sequence[str], rows: Ints) -> pa.Table:
    """The named columns of rows in any order."""
    ascending = np.sort(rows)
    return group.read(names, ascending).take(pa.array(np.searchsorted(ascending, rows)))


def _has_joins(group: Group) -> bool:
    return all(group.owner(name) is not None for name in _JOINED)


def _there(group: Group, *names: str) -> list[str]:
    return [name for name in names if group.owner(name) is not None]


def _column(group: Group, name: str) -> pa.ChunkedArray:
    """A column, or nulls where the corpus has none."""
    if group.owner(name) is None:
        return pa.chunked_array([pa.nulls(group.rows, pa.int64())])
    return group.read([name]).column(0)


def whole_units(batches: Iterator[pa.RecordBatch], needed: bool) -> Iterator[pa.Table]:
    """The batches as tables; where joins are to be put together, no unit is torn between two of them."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        if not needed:
            yield pa.table(batch)
            continue
        units = batch.column(batch.schema.get_field_index("unit_id"))
        cut = pc.index(units, units[-1]).as_py() if len(units) else 0
        if cut:
            yield pa.Table.from_batches([*waiting, batch.slice(0, cut)])
            waiting = []
        waiting.append(batch.slice(cut))
    if waiting:
        yield pa.Table.from_batches(waiting)
