"""Legs side by side: which ones a view, a search and a report read."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from corpus import plan_store, units
from corpus.schema import CAPTION, fields
from corpus.verify import verify_corpus
from corpus.view_query import ViewError
from corpus.views import open_view
from pipeline.legchoice import choose
from pipeline.report.facts import collect
from pipeline.runfolder import legs_of
from pipeline.select import select, write_table
from pipeline.status import run_status

OTHER = "other-captioner@beef"


@pytest.fixture(scope="module")
def store(small_corpus, tmp_path_factory):
    """fetch, models, and models_b after fetch, which captions all that is ok anew and ends nothing."""
    made = small_corpus(clip_ms=100).make(tmp_path_factory.mktemp("legs") / "run")
    adds = pa.schema([*CAPTION, *fields("clap_score", "clap_model")])
    plan = plan_store.part_sha256(made, "00000")
    for unit_id in sorted(units.done_units(made, "fetch", root=True)):
        root = units.read_root_unit(made, unit_id)
        ok = pc.equal(root.column("outcome"), "ok")
        rows = root
        for name, value in {"caption": "said anew", "caption_model": OTHER, "clap_model": "b@0123456789ab"}.items():
            rows = rows.append_column(name, pc.if_else(ok, value, None))
        rows = rows.append_column("clap_score", pc.if_else(ok, pa.scalar(0.25, pa.float32()), None))
        units.commit_columns(made, "models_b", root, rows, adds, units.UnitMeta("models_b", "r", plan))
    made.put_if_absent("corpus/legs/models_b.json", b'{"after": "fetch", "stages": []}')
    return made


def test_two_legs_that_give_the_same_column_are_not_mixed(store):
    with pytest.raises(ViewError, match=r"models and models_b both give .*caption.*--leg models or --leg models_b"):
        select(store.root)
    with pytest.raises(ViewError, match="no leg of this run is called nosuch; there are fetch, models, models_b"):
        select(store.root, legs=["nosuch"])


def test_a_view_reads_the_leg_that_is_named_and_what_it_starts_from(store):
    one, two = select(store.root, "one", legs=["models"]), select(store.root, "two", legs=["models_b"])
    assert one.summary["legs"] == ["fetch", "models"]
    assert two.summary["legs"] == ["fetch", "models_b"]
    assert set(two.read(["caption"]).column(0).to_pylist()) == {"said anew"}
    assert set(two.read(["caption_model"]).column(0).to_pylist()) == {OTHER}
    assert two.clips > one.clips  # models has ended some
    assert select(store.root, "fetched", legs=["fetch"]).clips == two.clips
    assert select(store.root, "low", legs=["models_b"], clap_min=0.3).clips == 0


def test_a_leg_without_columns_of_its_own_ends_clips_of_both(store, tmp_path):
    import shutil

    from corpus.store import Store

    shutil.copytree(store.root, tmp_path / "run")
    copy = Store(str(tmp_path / "run"))
    for path in copy.list("corpus/columns/models_b"):
        copy.delete(path)
    copy.delete("corpus/legs/models_b.json")
    alone = select(copy.root, "alone").clips
    copy.put_if_absent("corpus/legs/tags.json", b'{"after": "fetch", "stages": []}')
    for at, unit_id in enumerate(sorted(units.done_units(copy, "fetch", root=True))):
        root = units.read_root_unit(copy, unit_id)
        outcome = root.column("outcome")
        lost = pa.array([at == 0 and row == 0 for row in range(root.num_rows)])
        rows = root.set_column(root.schema.get_field_index("outcome"), "outcome", pc.if_else(lost, "filtered", outcome))
        rows = rows.set_column(
            rows.schema.get_field_index("reason"), "reason", pc.if_else(lost, "mine", rows["reason"])
        )
        units.commit_columns(copy, "tags", root, rows, pa.schema([]), units.UnitMeta("tags", "r", "p"))
    both = choose(copy)
    assert (both.names, both.ends) == (["fetch", "models", "tags"], ["models", "tags"])
    assert select(copy.root, "both").clips == alone - 1


def test_status_verify_and_report_know_legs_side_by_side(store):
    lines = run_status(store).funnel_lines()
    shares = {line.split()[2]: line.split()[4] for line in lines if "ok after" in line}
    assert shares["models_b"] == "100.0"  # of what fetch has left, not of what models has
    assert verify_corpus(store, list(legs_of(store))).faults == []
    with pytest.raises(ViewError, match="--leg models_b"):
        collect(store.root)
    assert collect(store.root, only_legs=["models_b"]).models.keys() == {"b@0123456789ab"}


def test_rows_can_be_had_as_one_parquet(store, tmp_path):
    import pyarrow.parquet as pq

    view = select(store.root, "t", legs=["models"])
    write_table(view, tmp_path / "t.parquet")
    assert pq.read_table(tmp_path / "t.parquet").equals(open_view(store, "t").read())
    with pytest.raises(ViewError, match="cannot be written"):
        write_table(view, tmp_path / "t.parquet" / "t.parquet")
