"""Plans against a real site and real files: every source accounted for, nothing asked twice, the same bytes."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from corpus import plan_store
from corpus.store import Store
from pipeline.config import Recipe
from pipeline.plan import PlanError, PlanProgress, plan
from pipeline.plan_part import Outcomes, Shape
from pipeline.plan_ray import PlanJob, _plan_in_task
from pipeline.plan_source import Rules, plan_source
from pipeline.sources import SourceEntry, SourceError

VTT = "WEBVTT\n\n00:02.000 --> 00:04.000\nhello\n\n00:10.000 --> 00:12.000\n[Music]\n"
COVERED = "WEBVTT\n\n00:00.000 --> 00:30.000\none long line\n"


def recipe_of(plugin_dir: str, sources: list, **rules) -> Recipe:
    given = {"clip_max_s": 10, "unit_clips": 8, "sources_per_part": 100, "workers": 2, **rules}
    return Recipe.model_validate(
        {
            "name": "test",
            "run": "unused",
            "sources": sources,
            "plan": given,
            "ytdlp": {
                "plugin_dirs": [plugin_dir],
                "timeout_s": 2,
                "retries": 1,
                "backoff_s": 0.02,
                "requests_per_s": 10_000,
                "allow_private_addresses": ["127.0.0.1/32"],
            },
            "legs": {"fetch": {"stages": [{"use": "fetch"}]}},
        }
    )


def urls(*items: str) -> dict:
    return {"type": "urls", "items": list(items)}


def rows_of(store: Store) -> list[dict]:
    return [
        row for unit in plan_store.iter_units(store) for row in plan_store.read_unit(store, unit.unit_id).to_pylist()
    ]


def bytes_of(store: Store) -> dict[str, bytes]:
    return {path: store.read(path) for path in store.list("plan")}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "run")


def write_wav(path: Path, seconds: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(seconds * 8000), dtype=np.float32), 8000)
    return path


def test_gaps_become_clips(site, plugin_dir: str, store: Store):
    url = site.watch("rain", captions=VTT, license="CC BY", view_count=7)
    result = plan(recipe_of(plugin_dir, [urls(url)]), store)
    rows = rows_of(store)
    assert [(row["start_ms"], row["end_ms"]) for row in rows] == [
        (0, 2000),
        (4000, 10_000),
        (12_000, 22_000),
        (22_000, 30_000),
    ]
    row = rows[1]
    assert row["clip_id"] == f"{row['source_id']}_4000_10000"
    assert row["source_key"] == row["url"] == url
    assert (row["title"], row["license"], row["transcript_kind"]) == ("Video rain", "CC BY", "manual")
    assert json.loads(row["source_meta"])["view_count"] == 7
    media = json.loads(row["media"])
    assert (media["kind"], media["url"]) == ("ytdlp", url)
    assert media["address"]["url"].endswith("/media/rain.ogg")
    assert (result.new, result.parts, result.progress.clips) == (1, ["00000"], 4)
    assert site.asked == ["/watch/rain", "/captions/rain.vtt"]


def test_every_listed_source_has_an_outcome(site, plugin_dir: str, store: Store):
    site.answers["/watch/busy"] = [429, 429]
    site.answers["/watch/broken"] = [500, 503]
    site.answers["/watch/passing"] = [503]
    site.headers["/watch/closed"] = {"X-Robots-Tag": "noai"}
    listed = {
        site.watch("rain", captions=VTT): ("planned", None),
        site.watch("talk", captions=COVERED): ("ended", "no_gaps"),
        site.watch("plain"): ("ended", "no_transcript"),
        site.watch("cueless", captions="WEBVTT\n"): ("ended", "no_transcript"),
        site.watch("private", says="Private video"): ("failed", "private"),
        site.watch("garbled", captions="<html>"): ("failed", "transcript_broken"),
        site.watch("busy", captions=VTT): ("failed", "http_429"),
        site.watch("broken", captions=VTT): ("failed", "http_5xx"),
        site.watch("passing", captions=VTT): ("planned", None),
        site.watch("aeon", captions=VTT, duration=1e9): ("failed", "too_long"),
        site.watch("closed", captions=VTT): ("ended", "opted_out"),
        "http://127.0.0.66:9/watch/rain": ("failed", "refused_address"),
        f"{site.url}/watch/gone": ("failed", "gone"),
        "not a url": ("failed", "unsupported"),
        "file:///etc/passwd": ("failed", "unsupported"),
    }
    seen: list[PlanProgress] = []
    result = plan(recipe_of(plugin_dir, [urls(*listed)]), store, on_progress=seen.append)
    found = {r["source_key"]: (r["outcome"], r["reason"]) for r in plan_store.read_sources(store).to_pylist()}
    assert found == listed
    last = seen[-1]
    assert last == result.progress
    assert last.done == last.sources == last.planned + last.ended + last.failed == len(listed)
    assert (last.planned, last.ended, last.failed) == (2, 4, 9)
    assert result.reasons["http_429"] == 1
    assert site.times_asked("/watch/busy") == 2
    assert site.times_asked("/watch/gone") == 1
    assert site.times_asked("/watch/plain") == 1


def test_duplicates_are_planned_once_and_counted(site, plugin_dir: str, store: Store, tmp_path: Path):
    url = site.watch("rain", captions=VTT)
    write_wav(tmp_path / "media" / "a.wav", 3)
    folder = {"type": "folder", "path": str(tmp_path / "media")}
    again = {"type": "folder", "path": str(tmp_path / "media" / ".." / "media")}
    result = plan(recipe_of(plugin_dir, [urls(url, url + "#t=3"), folder, again, urls(url)]), store)
    assert (result.new, result.duplicates, result.known) == (2, 3, 0)
    assert plan_store.read_sources(store).num_rows == 2


def test_the_same_bytes_whatever_answers_first(site, plugin_dir: str, tmp_path: Path):
    items = [site.watch(f"v{n}", captions=VTT) for n in range(12)]
    plans = []
    for attempt, workers in enumerate((1, 6)):
        for n in range(0, 12, 3):
            site.answers[f"/watch/v{n}"] = [503] * attempt  # some sources take longer the second time
        store = Store(tmp_path / f"run{attempt}")
        plan(recipe_of(plugin_dir, [urls(*items)], workers=workers, sources_per_part=5, unit_clips=6), store)
        plans.append(bytes_of(store))
    assert plans[0] == plans[1]
    assert sorted(plans[0])[:3] == [f"plan/inputs/0000{n}.parquet" for n in range(3)]


def test_a_plan_grows_by_new_parts_only(site, plugin_dir: str, store: Store):
    items = [site.watch(f"v{n}", captions=VTT) for n in range(5)]
    plan(recipe_of(plugin_dir, [urls(*items[:3])], sources_per_part=2), store)
    before = bytes_of(store)
    site.asked.clear()
    result = plan(recipe_of(plugin_dir, [urls(*reversed(items))], sources_per_part=2), store)
    after = bytes_of(store)
    assert {path: after[path] for path in before} == before
    assert (result.new, result.known, result.parts) == (2, 3, ["00002"])
    assert sorted(set(site.asked)) == ["/captions/v3.vtt", "/captions/v4.vtt", "/watch/v3", "/watch/v4"]
    site.asked.clear()
    assert plan(recipe_of(plugin_dir, [urls(*items)], sources_per_part=2), store).parts == []
    assert site.asked == []
    keys = [row["source_key"] for row in plan_store.read_sources(store).to_pylist()]
    assert keys == [*items[:3], items[4], items[3]]


class Stop(Exception):
    """Raised from the progress callback, as a signal would be."""


@pytest.mark.parametrize("stop_after", [0, 4, 7])
def test_a_stopped_plan_goes_on_and_ends_the_same(site, plugin_dir: str, tmp_path: Path, stop_after: int):
    items = [site.watch(f"v{n}", captions=VTT) for n in range(8)]
    recipe = recipe_of(plugin_dir, [urls(*items)], sources_per_part=3, workers=2)
    whole = Store(tmp_path / "whole")
    plan(recipe, whole)
    site.asked.clear()

    def stop(progress: PlanProgress) -> None:
        if progress.done == stop_after:
            raise Stop

    stopped = Store(tmp_path / "stopped")
    with pytest.raises(Stop):
        plan(recipe, stopped, on_progress=stop)
    done = plan_store.planned_parts(stopped)
    assert len(done) == max(0, (stop_after - 1) // 3)
    site.asked.clear()
    plan(recipe, stopped)
    assert bytes_of(stopped) == bytes_of(whole)
    asked_again = {path for path in site.asked if path.startswith("/watch/")}
    assert not asked_again & {f"/watch/v{n}" for n in range(3 * len(done))}


def test_clips_left_by_a_stopped_plan_are_planned_anew(site, plugin_dir: str, store: Store):
    url = site.watch("rain", captions=VTT)
    recipe = recipe_of(plugin_dir, [urls(url)])
    plan(recipe, store)
    store.delete(plan_store.sources_path("00000"))  # as if it had stopped between the two files
    site.put("/captions/rain.vtt", COVERED)
    plan(recipe, store)
    assert rows_of(store) == []
    assert plan_store.read_sources(store).column("reason").to_pylist() == ["no_gaps"]


def test_sources_are_asked_side_by_side(site, plugin_dir: str, store: Store):
    most = threading.active_count()
    items = [site.watch(f"v{n}", captions=VTT) for n in range(6)]
    for n in range(6):
        site.answers[f"/watch/v{n}"] = ["stalled"]
    started = time.monotonic()
    plan(recipe_of(plugin_dir, [urls(*items)], workers=6), store)
    assert time.monotonic() - started < 6 * 0.8
    assert threading.active_count() <= most + 6


def test_nothing_listed_is_an_error(plugin_dir: str, store: Store):
    for sources in ([], [urls()], [urls(" ")]):
        with pytest.raises(SourceError):
            plan(recipe_of(plugin_dir, sources), store)
    assert store.list("plan") == []


def test_a_folder_without_plugins_is_an_error(store: Store, tmp_path: Path):
    with pytest.raises(PlanError, match="plugin_dirs"):
        plan(recipe_of(str(tmp_path), [urls("http://127.0.0.1:9/a")]), store)


def test_cookies_that_are_not_there_are_an_error(plugin_dir: str, store: Store, tmp_path: Path):
    recipe = recipe_of(plugin_dir, [urls("http://127.0.0.1:9/a")])
    ytdlp = recipe.ytdlp.model_copy(update={"cookies_file": str(tmp_path / "none.txt")})
    with pytest.raises(PlanError, match="cookies_file"):
        plan(recipe.model_copy(update={"ytdlp": ytdlp}), store)


def test_units_of_one_clip(plugin_dir: str, store: Store, tmp_path: Path):
    write_wav(tmp_path / "media" / "a.wav", 1)
    folder = {"type": "folder", "path": str(tmp_path / "media")}
    long = recipe_of(plugin_dir, [folder], without_transcript="grid", clip_max_s=0.5, clip_min_s=0.5, unit_clips=1)
    result = plan(long, store)
    assert result.progress.clips == 2
    assert [unit.rows for unit in plan_store.iter_units(store)] == [1, 1]


# Folders.


def test_folder_sources(plugin_dir: str, store: Store, tmp_path: Path):
    media = tmp_path / "media"
    write_wav(media / "long.wav", 25)
    (media / "long.json").write_text(
        json.dumps({"title": "../Long. Ünï/\0", "license": "CC0", "tags": ["rain"], "x": 1})
    )
    write_wav(media / "talk.wav", 12)
    (media / "talk.srt").write_text("1\n00:00:03,000 --> 00:00:06,000\nhello\n")
    write_wav(media / "short.wav", 0.3)
    write_wav(media / "bad_sidecar.wav", 5)
    (media / "bad_sidecar.json").write_text("[1]")
    write_wav(media / "bad_transcript.wav", 5)
    (media / "bad_transcript.vtt").write_text("no transcript")
    (media / "empty.ogg").write_bytes(b"")
    (media / "text.mp3").write_bytes(b"this is no music at all" * 100)
    folder = {"type": "folder", "path": str(media)}
    plan(recipe_of("/nowhere", [folder], without_transcript="grid"), store)

    found = {Path(r["source_key"]).name: r for r in plan_store.read_sources(store).to_pylist()}
    assert {name: (row["outcome"], row["reason"]) for name, row in found.items()} == {
        "long.wav": ("planned", None),
        "talk.wav": ("planned", None),
        "short.wav": ("ended", "too_short"),
        "bad_sidecar.wav": ("failed", "sidecar_broken"),
        "bad_transcript.wav": ("failed", "transcript_broken"),
        "empty.ogg": ("failed", "empty_file"),
        "text.mp3": ("failed", "undecodable"),
    }
    long = found["long.wav"]
    assert (long["title"], long["license"], long["duration_ms"]) == ("../Long. Ünï/", "CC0", 25_000)
    assert json.loads(long["source_meta"]) == {"tags": ["rain"], "x": 1}
    spans: dict[str, list] = {}
    for row in rows_of(store):
        spans.setdefault(Path(row["source_key"]).name, []).append((row["start_ms"], row["end_ms"]))
        assert ".." not in row["clip_id"]
        assert json.loads(row["media"])["path"] == row["source_key"]
    assert spans == {
        "long.wav": [(0, 10_000), (10_000, 20_000), (20_000, 25_000)],
        "talk.wav": [(0, 3000), (6000, 12_000)],
    }
    assert found["talk.wav"]["transcript_kind"] == "manual"


def test_a_video_without_sound_and_a_file_that_has_gone(tmp_path: Path):
    import av

    with av.open(str(tmp_path / "mute.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        container.mux(stream.encode(None))
    rules = Rules.of(recipe_of("x", []).plan)
    for name, reason in (("mute.mp4", "no_audio"), ("none.wav", "gone")):
        path = str(tmp_path / name)
        entry = SourceEntry(source_key=path, kind="file", location=path)
        assert plan_source(entry, rules, lambda: pytest.fail("files need no client")).reason == reason


def test_an_unknown_duration_gives_a_capped_grid(site, plugin_dir: str, store: Store):
    url = site.put("/a.ogg", b"OggS" + b"x" * 100, "audio/ogg")
    recipe = recipe_of(plugin_dir, [urls(url)], without_transcript="grid", grid_unknown_duration_max_s=35)
    plan(recipe, store)
    assert [(row["start_ms"], row["end_ms"]) for row in rows_of(store)] == [
        (0, 10_000),
        (10_000, 20_000),
        (20_000, 30_000),
    ]


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ("keep", {"long.wav": [(0, 25_000)], "fine.wav": [(0, 4000)]}),
        ("split", {"long.wav": [(0, 10_000), (10_000, 20_000), (20_000, 25_000)], "fine.wav": [(0, 4000)]}),
        ("drop", {"fine.wav": [(0, 4000)]}),
    ],
)
def test_whole_files_with_captions(plugin_dir: str, store: Store, tmp_path: Path, over: str, expected: dict):
    media = tmp_path / "clotho"
    for name, seconds in (("long.wav", 25), ("fine.wav", 4), ("blip.wav", 0.3)):
        write_wav(media / name, seconds)
    (media / "broken.wav").write_bytes(b"")
    table = tmp_path / "clotho.csv"
    names = ["long.wav", "fine.wav", "blip.wav", "broken.wav"]
    table.write_text("file_name,caption_1,caption_2\n" + "".join(f"{name},It is {name},more\n" for name in names))
    source = {"type": "captions", "style": "clotho", "path": str(table), "folder": str(media), "name": "clotho"}
    result = plan(recipe_of("/nowhere", [{**source, "over_clip_max": over}]), store)
    found: dict[str, list] = {}
    for row in rows_of(store):
        name = row["source_key"].removeprefix("clotho/")
        found.setdefault(name, []).append((row["start_ms"], row["end_ms"]))
        assert (row["caption"], row["caption_model"]) == (f"It is {name}", "Clotho@published")
        assert (row["clap_score"], row["clap_model"]) == (None, None)
        assert json.loads(row["source_meta"]) == {"captions": ["more"]}
    assert found == expected
    ended = {"too_short": 1, "empty_file": 1} | ({} if "long.wav" in expected else {"too_long": 1})
    assert result.reasons == ended


def test_a_task_that_is_tried_again_finds_its_part_in_place(plugin_dir: str, store: Store, tmp_path: Path):
    """Its worker died between the part and its answer: that is no other planner."""
    write_wav(tmp_path / "media" / "a.wav", 2.0)
    recipe = recipe_of(plugin_dir, [{"type": "folder", "path": str(tmp_path / "media")}], without_transcript="grid")
    plan(recipe, store)
    before = bytes_of(store)
    job = PlanJob(store.root, recipe.plan.model_dump_json(), "{}", Shape.of(store, recipe))
    assert _plan_in_task(job, "00000") == (None, Outcomes())
    assert bytes_of(store) == before
