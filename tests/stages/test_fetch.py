"""The fetch stage on real servers and files: each source once, faults as rows, nothing fetched again."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from corpus.schema import fields
from stages.base import Metrics, Services, Stage
from stages.fetch import Fetch
from stages.media import Address, FileMedia, YtdlpMedia, to_json

AUDIO = bytes(range(256)) * 100


@pytest.fixture
def services(site, plugin_dir: str, tmp_path: Path) -> Services:
    section = {
        "plugin_dirs": [plugin_dir],
        "timeout_s": 0.3,
        "retries": 1,
        "backoff_s": 0.02,
        "cool_down_s": 0.02,
        "requests_per_s": 10_000,
        "allow_private_addresses": ["127.0.0.1/32"],
    }
    return Services(run_root=str(tmp_path), cache_dir=tmp_path / "cache", ytdlp={**section, "unknown_key": 1})


def page(site, video_id: str, address: bool = True) -> str:
    url = site.watch(video_id, AUDIO)
    media = f"{site.url}/media/{video_id}.ogg"
    found = Address(url=media, format_id="a", ext="ogg", protocol="http") if address else None
    return to_json(YtdlpMedia(url=url, address=found))


def fetch(services: Services, rows: list[tuple[str, str]], **options) -> list[dict]:
    stage = Fetch(**options)
    stage.open(services)
    columns = {"source_id": [r[0] for r in rows], "media": [r[1] for r in rows]}
    spans = {"start_ms": [0] * len(rows), "end_ms": [1000] * len(rows), "source_units": [1] * len(rows)}
    clips = pa.table({**columns, **spans}, schema=fields(*Fetch.reads))
    try:
        done = stage.run(clips)
    finally:
        stage.close()
    assert done.schema.field("media_path") == Fetch.adds.field("media_path")
    return done.to_pylist()


def test_it_is_a_stage():
    assert isinstance(Fetch(), Stage)


def test_bytes_that_were_fetched_are_told_once_by_site(site, services: Services):
    told = []

    class Noted(Metrics):
        def count(self, name, value=1.0, **tags):
            told.append((name, value, tags))

    services.metrics = Noted()
    rows = [("rain", page(site, "rain")), ("wind", page(site, "wind"))]
    fetch(services, rows)
    fetch(services, rows)  # from the cache
    here = {"site": site.url.removeprefix("http://")}
    assert told == [("autorecap_fetched_bytes_total", len(AUDIO), here)] * 2


def test_each_source_once_for_all_its_clips(site, services: Services):
    rows = [("rain", page(site, "rain"))] * 3 + [("wind", page(site, "wind", address=False))] * 2
    done = fetch(services, rows)
    assert [row["outcome"] for row in done] == [None] * 5
    assert len({row["media_path"] for row in done}) == 2
    assert all(Path(row["media_path"]).read_bytes() == AUDIO for row in done)
    assert site.asked == ["/media/rain.ogg", "/watch/wind", "/media/wind.ogg"]
    assert fetch(services, rows) == done  # another worker of the node, or the same after a crash
    assert len(site.asked) == 3


def test_a_fault_ends_all_clips_of_its_source_and_no_others(site, services: Services):
    rows = [("rain", page(site, "rain")), ("lost", page(site, "lost")), ("lost", page(site, "lost"))]
    del site.bodies["/watch/lost"], site.bodies["/media/lost.ogg"]
    done = fetch(services, rows)
    assert [(row["outcome"], row["reason"]) for row in done] == [(None, None), ("failed", "gone"), ("failed", "gone")]
    assert done[1]["detail"] == "the server answered 404"
    assert done[1]["media_path"] is None


@pytest.mark.parametrize(
    ("answers", "reason"),
    [([429] * 2, "http_429"), ([500] * 2, "http_5xx"), ([403] * 3, "blocked"), (["empty"], "empty_file")],
)
def test_reasons(site, services: Services, answers, reason: str):
    media = page(site, "rain")
    site.answers["/media/rain.ogg"] = answers
    (row,) = fetch(services, [("rain", media)])
    assert (row["outcome"], row["reason"]) == ("failed", reason)


def test_limits(site, services: Services):
    (row,) = fetch(services, [("rain", page(site, "rain"))], max_media_mb=0.01)
    assert row["reason"] == "too_large"


def test_local_files_are_used_where_they_lie(services: Services, tmp_path: Path):
    here = tmp_path / "a name.with dots ü.ogg"
    here.write_bytes(AUDIO)
    rows = [("x1", to_json(FileMedia(path=str(here)))), ("x2", to_json(FileMedia(path=str(tmp_path / "none.ogg"))))]
    first, second = fetch(services, rows)
    assert first["media_path"] == str(here)
    assert (second["outcome"], second["reason"]) == ("failed", "gone")
    assert not (services.cache_dir / "x1").exists()


def test_objects_behind_an_fsspec_url_are_copied_once(services: Services):
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/fetch-test/a.flac", AUDIO)
    rows = [
        ("x1", to_json(FileMedia(path="memory:///fetch-test/a.flac"))),
        ("x2", to_json(FileMedia(path="memory:///fetch-test/none.flac"))),
    ]
    try:
        first, second = fetch(services, rows)
    finally:
        memory.rm("/fetch-test", recursive=True)
    assert Path(first["media_path"]).read_bytes() == AUDIO
    assert first["media_path"].endswith("x1/media.flac")
    assert second["reason"] == "gone"
    assert fetch(services, rows[:1]) == [first]


def test_a_source_id_that_is_a_path_is_a_bug_and_not_a_row(site, services: Services):
    with pytest.raises(ValueError, match="not a source id"):
        fetch(services, [("../../rain", page(site, "rain"))])
    assert not os.path.lexists(services.cache_dir.parent.parent / "rain")
