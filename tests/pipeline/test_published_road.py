"""A published file from its lines to a view without any model, and plans made by Ray tasks: on a real local Ray."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from corpus import plan_store, units
from corpus.schema import GIVEN, PLAN, PUBLISHED_MODEL
from corpus.store import Store
from corpus.verify import verify_corpus
from pipeline.config import Recipe
from pipeline.plan import PlanError, plan
from pipeline.run import LegEnd, run_leg
from pipeline.runfolder import start_run
from pipeline.select import select
from stages.media import YtdlpMedia, page_json, to_json

VTT = "WEBVTT\n\n00:02.000 --> 00:04.000\nhello\n"


@pytest.fixture(scope="module", autouse=True)
def ray_is_up():
    from pipeline.engine import ensure_ray, stop_ray

    ensure_ray(num_cpus=2)
    yield
    stop_ray()


def recipe_of(run: Path, plugin_dir: str, sources: list, **rules) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "published",
            "run": str(run),
            "sources": sources,
            "plan": {"unit_clips": 4, "sources_per_part": 2, "workers": 2, **rules},
            "ytdlp": {
                "plugin_dirs": [plugin_dir],
                "requests_per_s": 1000,
                "allow_private_addresses": ["127.0.0.1/32"],
            },
            "legs": {
                "fetch": {"stages": [{"use": "fetch"}, {"use": "cut"}]},
                "models": {"after": "fetch", "stages": [{"use": "tests.pipeline.trial_stages:Caption", "model": True}]},
            },
        }
    )


def sound(seconds: int = 30) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(3).normal(0, 0.1, seconds * 16_000)
    soundfile.write(file, noise, 16_000, format="OGG", subtype="VORBIS")
    return file.getvalue()


def listed(path: Path, videos: dict[str, list[tuple]]) -> dict:
    lines = []
    for url, clips in videos.items():
        intervals = [{"start": s, "end": e, "text": t, "CLAP_SIM": c} for s, e, t, c in clips]
        lines.append(json.dumps({url: {"intervals": intervals}}) + ",\n")
    path.write_text("".join(lines))
    return {"type": "autorecap", "path": str(path)}


def bytes_of(store: Store) -> dict[str, bytes]:
    return {path: store.read(path) for path in store.list("plan")}


def run(recipe: Recipe, leg: str) -> None:
    (end,) = [event for event in run_leg(start_run(recipe), recipe, leg) if isinstance(event, LegEnd)]
    assert (end.undone, end.errors) == (0, [])


def test_from_a_published_file_to_a_view_without_a_model(site, plugin_dir: str, tmp_path: Path):
    rain = site.watch("rain", media=sound(), title="Rain \0on a roof", license="CC BY")
    gone = f"{site.url}/watch/gone"
    talk = site.watch("talk", media=sound(), captions=VTT)
    videos = {
        rain: [(1, 5.5, "Rain falls", 0.47), (8, 20, "It rains on", 0.62), (22, 25, "Quiet", 0.2)],
        gone: [(0, 4, "A ghost", 0.9)],
    }
    recipe = recipe_of(
        tmp_path / "run",
        plugin_dir,
        [listed(tmp_path / "list.json", videos), {"type": "urls", "items": [talk]}],
    )
    store = start_run(recipe)
    result = plan(recipe, store)
    assert site.asked == ["/watch/talk", "/captions/talk.vtt"]  # nobody asked for what the list knows
    assert (result.new, result.progress.clips, result.lists[0].clips) == (3, 8, 4)
    planned = plan_store.read_unit(store, "00000-00000")
    assert planned.schema.names == [*PLAN.names, *GIVEN.names]
    assert planned.column("title").null_count == planned.num_rows

    run(recipe, "fetch")
    rows = units.read_root_unit(store, "00000-00000").to_pylist()
    by_reason = {row["caption"]: (row["outcome"], row["reason"]) for row in rows}
    assert by_reason == {
        "Rain falls": ("ok", None),
        "It rains on": ("ok", None),
        "Quiet": ("ok", None),
        "A ghost": ("failed", "gone"),
    }
    assert {(row["title"], row["license"], row["uploader"]) for row in rows if row["outcome"] == "ok"} == {
        ("Rain on a roof", "CC BY", None)
    }
    assert site.times_asked("/watch/rain") == 1
    assert verify_corpus(store, ["fetch"]).ok

    view = select(str(tmp_path / "run"), preset="MQ")
    told = view.read(["caption", "caption_model", "clap_score", "clap_model", "duration_ms", "title"]).to_pylist()
    assert [(row["caption"], row["duration_ms"]) for row in told] == [("Rain falls", 4500), ("It rains on", 12_000)]
    assert {(row["caption_model"], row["clap_model"]) for row in told} == {(PUBLISHED_MODEL, PUBLISHED_MODEL)}
    assert select(str(tmp_path / "run"), "all").clips == 7  # the talk's gaps too, without captions

    run(recipe, "models")  # a leg of ours hides what was given
    ours = select(str(tmp_path / "run"), "ours").read(["caption", "caption_model"]).to_pylist()
    assert PUBLISHED_MODEL not in {row["caption_model"] for row in ours}


def test_a_plan_that_was_begun_without_captions_takes_no_list_that_brings_them(site, plugin_dir: str, tmp_path: Path):
    url = site.watch("rain", captions=VTT)
    urls = {"type": "urls", "items": [url]}
    begun = recipe_of(tmp_path / "run", plugin_dir, [urls])
    store = start_run(begun)
    plan(begun, store)
    given = listed(tmp_path / "list.json", {"dQw4w9WgXcQ": [(0, 5, "x", 0.5)]})
    with pytest.raises(PlanError, match="run folder of its own"):
        plan(recipe_of(tmp_path / "run", plugin_dir, [urls, given]), store)
    assert plan_store.planned_parts(store) == ["00000"]


def test_ray_tasks_make_the_same_plan_and_ask_nothing_twice(site, plugin_dir: str, tmp_path: Path):
    items = [site.watch(f"v{n}", captions=VTT) for n in range(7)]
    given = listed(tmp_path / "list.json", {f"{n:011d}": [(n, n + 5, "x", 0.5)] for n in range(3)})
    sources = [{"type": "urls", "items": items}, given]
    here, there = (Store(str(tmp_path / name)) for name in ("threads", "ray"))
    plan(recipe_of(tmp_path / "threads", plugin_dir, sources), here)
    site.asked.clear()
    done = []
    recipe = recipe_of(tmp_path / "ray", plugin_dir, sources, on_ray=True)
    result = plan(recipe, there, on_progress=done.append)
    assert bytes_of(there) == bytes_of(here)
    assert sorted(site.asked) == sorted(f"/{kind}/v{n}{end}" for n in range(7) for kind, end in (("watch", ""), ("captions", ".vtt")))  # fmt: skip # noqa: E501
    assert (result.progress.done, result.progress.planned, done[-1]) == (10, 10, result.progress)

    for path in (plan_store.sources_path("00002"), plan_store.units_path("00002")):
        there.delete(path)
    site.asked.clear()
    assert plan(recipe, there).parts == ["00002"]
    assert bytes_of(there) == bytes_of(here)
    assert {path for path in site.asked if path.startswith("/watch/")} == {"/watch/v4", "/watch/v5"}


def test_what_the_user_must_mend_is_told_in_a_sentence(plugin_dir: str, tmp_path: Path):
    recipe = recipe_of(
        tmp_path / "run", str(tmp_path), [{"type": "urls", "items": ["http://127.0.0.1:9/a"]}], on_ray=True
    )
    with pytest.raises(PlanError, match="plugin_dirs"):
        plan(recipe, start_run(recipe))


def test_pages_by_the_million_are_written_as_any_media():
    for url in ("https://www.youtube.com/watch?v=-_dash_id-0", 'http://a/"q"?\\=ünï&x=\x7f'):
        assert page_json(url) == to_json(YtdlpMedia(url=url)) or "session" in to_json(YtdlpMedia(url=url))
