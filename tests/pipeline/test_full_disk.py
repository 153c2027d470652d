"""A disk that fills up, or turns read-only, under a run: the leg stops with one sentence, and goes on later.

Real disks: a tmpfs of a megabyte, mounted for the test.
"""

import hashlib
import logging

import pyarrow as pa
import pytest

from benchmarks.synthetic import write_plan
from corpus import units
from corpus.schema import fields
from corpus.storage_faults import StorageFault
from corpus.store import Store
from corpus.verify import verify_corpus
from pipeline.config import Recipe
from pipeline.export import export
from pipeline.run import LegStopped, run_leg
from pipeline.runlog import run_log
from pipeline.select import select
from stages.base import Services
from stages.fetch import Fetch
from stages.media import Address, YtdlpMedia, to_json

LEGS = ("fetch", "models")


@pytest.fixture(scope="module")
def ray_is_up():
    from pipeline.engine import ensure_ray, stop_ray

    ensure_ray(num_cpus=2)
    yield
    stop_ray()


def recipe(run, cache):
    legs = {
        "fetch": {"stages": [{"use": "benchmarks.synthetic:Bytes", "clip_bytes": 20_000}]},
        "models": {"after": "fetch", "stages": [{"use": "tests.pipeline.trial_stages:Caption"}]},
    }
    return Recipe.model_validate(
        {"name": "trial", "run": str(run), "legs": legs, "execution": {"cache_dir": str(cache)}}
    )


def finish(store, asked):
    for leg in LEGS:
        list(run_leg(store, asked, leg))
    return {path: hashlib.sha256(store.read(path)).hexdigest() for path in store.list("corpus")}


def work_until_it_stops(store, asked, leg):
    with pytest.raises(LegStopped) as stopped:
        list(run_leg(store, asked, leg))
    return str(stopped.value)


def test_a_leg_stops_at_a_full_or_read_only_disk_and_the_same_command_ends_as_if_there_had_been_room(
    ray_is_up, small_disk, tmp_path
):
    whole, run = Store(str(tmp_path / "whole")), Store(str(small_disk.path / "run"))
    for store in (whole, run):
        write_plan(store, 24, 4)
    expected = finish(whole, recipe(whole.root, tmp_path / "cache"))
    asked = recipe(run.root, tmp_path / "cache")
    said = work_until_it_stops(run, asked, "fetch")
    assert "leg fetch stopped: no space left at" in said
    assert "run the same command again; what is committed stays" in said
    assert "\n" not in said
    assert 0 < len(units.done_units(run, "fetch", root=True)) < 24
    assert run.list(temporary=True) == []
    small_disk.grow(8192)
    assert verify_corpus(run, ["fetch"]).ok
    small_disk.read_only()
    assert "read-only: mount it writable" in work_until_it_stops(run, asked, "fetch")
    small_disk.writable()
    assert finish(run, asked) == expected
    assert verify_corpus(run, LEGS, sweep=True).ok


def test_a_view_and_an_export_on_a_full_disk_leave_nothing_and_are_made_when_there_is_room(
    small_disk, small_corpus, tmp_path
):
    small_disk.grow(4096)
    run, out = small_disk.path / "run", small_disk.path / "shards"
    small_corpus().make(run)
    filler = small_disk.fill()
    with pytest.raises(StorageFault, match="no space left"):
        select(str(run), "all")
    assert Store(str(run)).list("views") == Store(str(run)).list("views", temporary=True) == []
    filler.unlink()
    select(str(run), "all")
    filler = small_disk.fill(leave_kb=64)
    with pytest.raises(StorageFault, match="no space left"):
        export(str(run), "all", str(out), workers=0)
    assert Store(str(out)).list(temporary=True) == []
    assert not any(path.endswith(".tar") for path in Store(str(out)).list())
    filler.unlink()
    there = export(str(run), "all", str(tmp_path / "elsewhere"), workers=0)
    assert export(str(run), "all", str(out), workers=0).samples == there.samples > 0


def test_a_full_cache_disk_is_no_source_s_fault(site, plugin_dir, small_disk):
    address = Address(url=site.put("/big.ogg", b"x" * 2_000_000), format_id="a", ext="ogg", protocol="http")
    media = to_json(YtdlpMedia(url=site.watch("big"), address=address))
    row = {"source_id": "big", "media": media, "start_ms": 0, "end_ms": 1000, "source_units": 1}
    clips = pa.Table.from_pylist([row], schema=fields(*Fetch.reads))
    asked = {"plugin_dirs": [plugin_dir], "allow_private_addresses": ["127.0.0.1/32"], "requests_per_s": 1000.0}
    stage = Fetch()
    stage.open(Services(run_root=str(small_disk.path), cache_dir=small_disk.path / "cache", ytdlp=asked))
    with pytest.raises(StorageFault, match="no space left"):
        stage.run(clips)
    assert not list((small_disk.path / "cache" / "big").iterdir())
    small_disk.grow(8192)
    done = stage.run(clips)
    stage.close()
    assert "outcome" not in done.column_names or done.column("outcome")[0].as_py() is None
    assert done.column("media_path")[0].as_py().startswith(str(small_disk.path))


def test_a_full_disk_costs_log_lines_and_no_tracebacks(small_disk, capfd):
    store = Store(str(small_disk.path / "run"))
    with run_log(store, "run"):
        small_disk.fill()
        logging.getLogger("somewhere").warning("a line that finds no room, %s", "x" * 10_000)
    assert "Traceback" not in capfd.readouterr().err
