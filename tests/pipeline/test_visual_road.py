"""Visual captions from plan to corpus on a real Ray: frames are fetched with the audio, captioned with the models."""

import io
import json
from collections import Counter
from pathlib import Path

import av
import pytest
from PIL import Image

from corpus import units
from corpus.groups import scan
from corpus.store import Store
from corpus.verify import verify_corpus
from pipeline.config import Recipe
from pipeline.plan import plan
from pipeline.run import UnitDone, run_leg
from stages.image_captioner import load_image_captioner
from stages.images import open_image
from tests.small_blip import save_small_blip
from tests.small_video import second_of, write_video

SECONDS = 10  # five clips of two seconds each: no unit holds all of a source
pytestmark = pytest.mark.slow


@pytest.fixture
def ray_is_up():
    from pipeline.engine import ensure_ray, stop_ray

    ensure_ray(num_cpus=2)
    yield
    stop_ray()


@pytest.fixture
def sources(site, tmp_path):
    """A list of pages that offer different things to see, and a folder with a video and a sound."""
    folder = tmp_path / "folder"
    folder.mkdir()
    both = write_video(folder / "holiday.mp4", SECONDS)
    pictures = write_video(tmp_path / "pictures.mp4", SECONDS, audio=False).read_bytes()
    sound = sound_of(both, folder / "hum.m4a").read_bytes()
    thumbnail = io.BytesIO()
    Image.new("RGB", (480, 360), (40, 40, 210)).save(thumbnail, "JPEG")

    def page(name, *more_formats, **more):
        site.put(f"/{name}/sound.m4a", sound)
        audio = {"format_id": "a", "url": f"/{name}/sound.m4a", "ext": "m4a", "vcodec": "none", "acodec": "aac"}
        return site.watch(name, formats=[audio, *more_formats], duration=float(SECONDS), **more)

    def video(name):
        site.put(f"/{name}/144.mp4", pictures)
        return {"format_id": "v", "url": f"/{name}/144.mp4", "ext": "mp4", "vcodec": "h264", "acodec": "none",
                "height": 144}  # fmt: skip

    shot = [{"url": site.put("/thumb/hq.jpg", thumbnail.getvalue()), "width": 480, "height": 360}]
    gone = [{"url": f"{site.url}/gone/hq.jpg", "width": 480, "height": 360}]
    listed = [
        {"url": page("film", video("film"))},
        {"url": page("told", video("told")), "video_caption": "a tap above a kitchen sink"},
        {"url": page("thumb", thumbnails=shot)},
        {"url": page("gone", thumbnails=gone)},
        {"url": page("radio")},
    ]
    path = tmp_path / "videos.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in listed))
    site.asked.clear()
    return [{"type": "urls", "path": str(path)}, {"type": "folder", "path": str(folder)}]


def sound_of(video: Path, path: Path) -> Path:
    with av.open(str(video)) as source, av.open(str(path), "w", format="mp4") as target:
        copy = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    return path


def recipe(run, sources, plugin_dir, model):
    fetch = [{"use": "fetch"}, {"use": "cut"}, {"use": "frame"}]
    models = [{"use": "load_audio"}, {"use": "visual_caption", "model": model, "max_tokens": 6}]
    return Recipe.model_validate(
        {
            "name": "visual",
            "run": str(run),
            "sources": sources,
            "plan": {"clip_max_s": 2, "unit_clips": 4, "without_transcript": "grid", "workers": 1},
            "ytdlp": {
                "plugin_dirs": [plugin_dir],
                "timeout_s": 2,
                "retries": 0,
                "requests_per_s": 10_000,
                "allow_private_addresses": ["127.0.0.1/32"],
            },
            "legs": {
                "fetch": {"stages": fetch},
                "models": {"after": "fetch", "stages": [*models, {"use": "embed"}, {"use": "caption", "beams": 1}]},
            },
            "execution": {"pools": {"models": {"gpus_per_worker": 0}}},
        }
    )


def test_every_clip_is_captioned_and_what_can_be_seen_is_said(ray_is_up, site, sources, plugin_dir, tmp_path):
    model = str(save_small_blip(tmp_path / "tiny-blip"))
    one = recipe(tmp_path / "run", sources, plugin_dir, model)
    store = Store(str(tmp_path / "run"))
    plan(one, store)
    planned_with = Counter(site.asked)
    for leg in ("fetch", "models"):
        assert all(event.error is None for event in run_leg(store, one, leg) if isinstance(event, UnitDone))

    asked = Counter(site.asked) - planned_with
    assert asked == {
        **{f"/{name}/sound.m4a": 1 for name in ("film", "told", "thumb", "gone", "radio")},
        **{f"/watch/{name}": 1 for name in ("film", "thumb", "gone", "radio")},  # none for the one with a caption
        **{"/film/144.mp4": 1, "/thumb/hq.jpg": 1, "/gone/hq.jpg": 1},
    }
    assert not [path for path in (tmp_path / "run" / "cache").iterdir() if not path.name.startswith(".")]

    assert verify_corpus(store, ["fetch", "models"]).ok
    rows = rows_of(store)
    assert {name: len(of_name) for name, of_name in rows.items()} == dict.fromkeys(
        ["film", "told", "thumb", "gone", "radio", "holiday.mp4", "hum.m4a"], 5
    )
    assert all(row["outcome"] == "ok" and row["caption"] for of_name in rows.values() for row in of_name)
    found = {name: {(row["frame_kind"], row["frame_reason"]) for row in of_name} for name, of_name in rows.items()}
    assert found == {
        "film": {("video", None)},
        "told": {(None, "has_caption")},
        "thumb": {("thumbnail", None)},
        "gone": {(None, "gone")},
        "radio": {(None, "not_offered")},
        "holiday.mp4": {("media", None)},
        "hum.m4a": {(None, "no_video")},
    }
    captioner, words = load_image_captioner(model), set()
    for name in ("film", "thumb", "holiday.mp4"):
        for row in rows[name]:
            image = open_image(row["frame_jpeg"])
            middle_s = (row["start_ms"] + 1_000) // 1_000
            assert second_of(image) == (2 if name == "thumb" else middle_s % 6)
            said = captioner.caption([image], max_tokens=6)[0]  # a random one may say nothing
            assert (row["video_caption"], row["video_caption_model"]) == (
                (said, captioner.name) if said else (None, None)
            )
            words.add(said)
    assert len(words) >= 4
    assert {(row["video_caption"], row["video_caption_model"]) for row in rows["told"]} == {
        ("a tap above a kitchen sink", None)
    }
    assert {row["video_caption"] for name in ("gone", "radio", "hum.m4a") for row in rows[name]} == {None}

    (compacted,) = scan(store, ["fetch", "models"], ["video_caption", "frame_kind"])
    captions = [row["video_caption"] for of_name in rows.values() for row in of_name]
    assert Counter(compacted.column("video_caption").to_pylist()) == Counter(captions)
    before = store.list("corpus"), len(site.asked)
    for leg in ("fetch", "models"):
        list(run_leg(store, one, leg))
    assert (store.list("corpus"), len(site.asked)) == before


def rows_of(store):
    """Rows by the last part of their source's address, each with what the leg of models added."""
    rows = {}
    for unit_id in sorted(units.done_units(store, "fetch", root=True)):
        root = units.read_root_unit(store, unit_id).to_pylist()
        for row, more in zip(root, units.read_columns_unit(store, "models", unit_id).to_pylist(), strict=True):
            rows.setdefault(row["source_key"].rsplit("/", 1)[-1], []).append(row | more)
    return rows
