from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest

from corpus.schema import PLAN, fields
from pipeline.chain import Link
from pipeline.worker import UnitRunner, finish_unit, start_unit
from stages.base import Ending, Needs, Services, with_columns, with_endings


@dataclass
class DropOdd:
    reads: ClassVar = ("row",)
    adds: ClassVar = fields("caption")

    def needs(self):
        return Needs()

    def open(self, services):
        self.opened = getattr(self, "opened", 0) + 1

    def run(self, clips):
        rows = clips.column("row").to_pylist()
        clips = with_columns(clips, {"caption": [f"row {row}" for row in rows]}, self.adds)
        return with_endings(clips, [Ending("filtered", "odd") if row % 2 else None for row in rows])

    def close(self):
        self.opened = 0


class Shout(DropOdd):
    adds: ClassVar = pa.schema([])
    changes: ClassVar = ("caption",)

    def run(self, clips):
        captions = [text.upper() for text in clips.column("caption").to_pylist()]
        return with_columns(clips, {"caption": captions}, fields("caption"))


class LosesOne(DropOdd):
    def run(self, clips):
        return super().run(clips).slice(1)


class Forgets(DropOdd):
    def run(self, clips):
        return clips


class Breaks(DropOdd):
    def run(self, clips):
        raise ValueError("no such thing")


class EndsAll(DropOdd):
    adds: ClassVar = pa.schema([])

    def run(self, clips):
        return with_endings(clips, [Ending("failed", "gone", "why")] * clips.num_rows)


def planned(count=4):
    rows = [
        {
            "clip_id": f"s_{at}_{at + 1}",
            "source_id": "s",
            "source_key": "s",
            "unit_id": "00000-00000",
            "row": at,
        }
        | {"start_ms": at * 1000, "end_ms": at * 1000 + 1000}
        for at in range(count)
    ]
    return start_unit(pa.Table.from_pylist(rows, schema=PLAN), "00000-00000")


def run(*stages, unit=None):
    links = [Link(type(stage).__name__, stage, "models") for stage in stages]
    runner = UnitRunner(links, Services(run_root=".", cache_dir=Path()))
    return finish_unit(runner.run(unit if unit is not None else planned()))


def test_ended_rows_are_skipped_and_keep_what_they_had():
    table, tally = run(DropOdd(), Shout())
    assert table.column("caption").to_pylist() == ["ROW 0", "row 1", "ROW 2", "row 3"]
    assert table.column("outcome").to_pylist() == [None, "filtered", None, "filtered"]
    assert table.column("stage").to_pylist() == [None, "DropOdd", None, "DropOdd"]
    assert table.column("attempt").to_pylist() == [0, 0, 0, 0]
    assert [(s.clips_in, s.clips_out, s.ended) for s in tally.stages] == [
        (4, 2, {"filtered/odd": 2}),
        (2, 2, {}),
    ]
    assert tally.stages[0].audio_ms == 4000


def test_when_nothing_is_live_columns_are_there_and_null():
    table, tally = run(EndsAll(), DropOdd())
    assert table.column("caption").to_pylist() == [None] * 4
    assert table.column("stage").to_pylist() == ["EndsAll"] * 4
    assert tally.stages[1].clips_in == 0


@pytest.mark.parametrize("stage", [LosesOne(), Forgets(), Breaks()])
def test_a_stage_that_breaks_its_promise_stops_the_unit_and_says_which(stage):
    _, tally = run(stage, Shout())
    assert type(stage).__name__ in tally.error
    assert "00000-00000" in tally.error
    assert tally.stages == []


def test_an_error_travels_to_the_next_worker_which_does_nothing():
    links = [Link("Breaks", Breaks(), "models")]
    services = Services(run_root=".", cache_dir=Path())
    broken = UnitRunner(links, services).run(planned())
    _, tally = run(DropOdd(), unit=broken)
    assert "no such thing" in tally.error
    assert tally.stages == []


def test_stages_are_opened_once():
    stage = DropOdd()
    runner = UnitRunner([Link("x", stage, "models")], Services(run_root=".", cache_dir=Path()))
    runner.run(planned())
    runner.run(planned())
    assert stage.opened == 1
    runner.close()
    assert stage.opened == 0


def test_committed_units_start_with_ok_rows_live():
    table, _ = finish_unit(planned())
    table = table.set_column(
        table.schema.get_field_index("outcome"), "outcome", pa.array(["ok", "failed", "ok", "filtered"])
    )
    table, _ = finish_unit(start_unit(table, "00000-00000"))
    assert table.column("outcome").to_pylist() == [None, "failed", None, "filtered"]
