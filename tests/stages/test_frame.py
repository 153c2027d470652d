"""The frame stage on a real site and real files: the right picture, and at most one request more per source."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from corpus.schema import fields
from stages.base import Services, Stage
from stages.cache import MediaCache
from stages.fetch import Fetch
from stages.frame import Frame
from stages.images import open_image
from stages.media import Address, FileMedia, YtdlpMedia, to_json
from stages.registry import StageError, build_stage
from tests.small_video import COLOURS, second_of, write_video

#: Clips of a second: frame k shows COLOURS[k].
SPANS = [(0, 1_000), (2_000, 3_000), (5_000, 6_000)]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A video with sound, its sound alone, and its pictures alone."""
    folder = tmp_path_factory.mktemp("videos")
    both = write_video(folder / "both.mp4", 6)
    silent = write_video(folder / "pictures.mp4", 6, audio=False)
    sound = folder / "sound.m4a"
    import av

    with av.open(str(both)) as source, av.open(str(sound), "w", format="mp4") as target:
        copy = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    return {"both": both, "sound": sound, "pictures": silent}


@pytest.fixture
def services(site, plugin_dir: str, tmp_path: Path) -> Services:
    section = {
        "plugin_dirs": [plugin_dir],
        "timeout_s": 2,
        "retries": 1,
        "backoff_s": 0.02,
        "cool_down_s": 0.02,
        "requests_per_s": 10_000,
        "allow_private_addresses": ["127.0.0.1/32"],
    }
    return Services(run_root=str(tmp_path), cache_dir=tmp_path / "cache", ytdlp=section)


def storyboard(columns=3, rows=2):
    """Six tiles of 160 x 90, one a second, in the colours of the video's seconds."""
    board = Image.new("RGB", (160 * columns, 90 * rows))
    for at, colour in enumerate(COLOURS):
        row, column = divmod(at, columns)
        board.paste(colour, (160 * column, 90 * row, 160 * (column + 1), 90 * (row + 1)))
    out = io.BytesIO()
    board.save(out, "JPEG", quality=95)
    return out.getvalue()


def webp(colour, size=(480, 360)):
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "WEBP")
    return out.getvalue()


def page(site, videos, name="v", *, offers=("video", "storyboard", "thumbnail"), sound=True):
    """A watch page with sound, and with those things to see."""
    formats = [{"format_id": "a", "url": f"/{name}/sound.m4a", "ext": "m4a", "vcodec": "none", "acodec": "aac"}]
    site.put(f"/{name}/sound.m4a", videos["sound"].read_bytes())
    if "video" in offers:
        site.put(f"/{name}/144.mp4", videos["pictures"].read_bytes())
        formats += [
            {"format_id": "low", "url": f"/{name}/144.mp4", "ext": "mp4", "vcodec": "h264", "acodec": "none",
             "height": 144, "filesize": 20_000},
            {"format_id": "high", "url": f"/{name}/720.mp4", "ext": "mp4", "vcodec": "h264", "acodec": "none",
             "height": 720, "filesize": 900_000},
        ]  # fmt: skip
    more = {}
    if "storyboard" in offers:
        url = site.put(f"/{name}/M0.jpg", storyboard())
        formats.append(
            {"format_id": "sb0", "url": url, "ext": "mhtml", "protocol": "mhtml", "vcodec": "none", "acodec": "none",
             "columns": 3, "rows": 2, "width": 160, "height": 90, "fps": 1.0,
             "fragments": [{"url": url, "duration": 6.0}]}
        )  # fmt: skip
    if "thumbnail" in offers:
        more["thumbnails"] = [{"url": site.put(f"/{name}/hq.webp", webp(COLOURS[4])), "width": 480, "height": 360}]
    for item in formats:
        if item["format_id"] == "high":
            item["url"] = site.url + item["url"]
    url = site.watch(name, formats=formats, duration=6.0, **more)
    site.asked.clear()
    return YtdlpMedia(url=url)


def clips(rows):
    """rows: (source id, media, start, end, visual caption)."""
    names = ("source_id", "media", "start_ms", "end_ms", "video_caption", "source_units")
    rows = [(*row, 1) for row in rows]
    return pa.table({name: [row[at] for row in rows] for at, name in enumerate(names)}, schema=fields(*names))


def shoot(services, table, **options):
    """Through fetch and frame, as a leg does it."""
    stages = Fetch(), Frame(**options)
    for stage in stages:
        stage.open(services)
    try:
        for stage in stages:
            table = stage.run(table)
    finally:
        for stage in stages:
            stage.close()
    for name in Frame.adds.names:
        assert table.schema.field(name) == Frame.adds.field(name)
    return table.to_pylist()


def of_source(media, source_id="v", caption=None):
    return clips([(source_id, to_json(media), *span, caption) for span in SPANS])


def seconds(rows):
    return [second_of(open_image(row["frame_jpeg"])) for row in rows]


def test_it_is_a_stage_whose_options_are_checked():
    assert isinstance(build_stage("frame", {"take": ["thumbnail"]}), Stage)
    for bad in ({"take": ["photo"]}, {"take": []}, {"storyboard_pages": 0}, {"max_side_px": 4_000}):
        with pytest.raises(StageError):
            build_stage("frame", bad)


@pytest.mark.parametrize(
    ("offers", "kind", "asked"),
    [
        (("video", "storyboard", "thumbnail"), "video", "/v/144.mp4"),
        (("storyboard", "thumbnail"), "storyboard", "/v/M0.jpg"),
        (("thumbnail",), "thumbnail", "/v/hq.webp"),
    ],
)
def test_one_request_more_for_all_clips_of_a_source(site, services, videos, offers, kind, asked):
    rows = shoot(services, of_source(page(site, videos, offers=offers)))
    assert site.asked == ["/watch/v", "/v/sound.m4a", asked]
    assert {(row["frame_kind"], row["frame_reason"]) for row in rows} == {(kind, None)}
    assert seconds(rows) == ([4, 4, 4] if kind == "thumbnail" else [0, 2, 5])
    assert all("outcome" not in row or row["outcome"] is None for row in rows)


def test_the_recipe_says_what_to_take(site, services, videos):
    rows = shoot(services, of_source(page(site, videos)), take=("storyboard",))
    assert site.asked[-1] == "/v/M0.jpg"
    assert seconds(rows) == [0, 2, 5]
    rows = shoot(services, of_source(page(site, videos, "w"), "w"), take=("storyboard",), min_height_px=91)
    assert site.asked == ["/watch/w", "/w/sound.m4a"]
    assert {row["frame_reason"] for row in rows} == {"not_offered"}


def test_a_planned_address_saves_no_extraction_where_a_frame_is_wanted(site, services, videos):
    media = page(site, videos)
    address = Address(url=f"{site.url}/v/sound.m4a", format_id="a", ext="m4a", protocol="http")
    shoot(services, of_source(YtdlpMedia(url=media.url, address=address)))
    assert site.asked == ["/v/sound.m4a", "/watch/v", "/v/144.mp4"]


def test_neither_another_unit_nor_a_crash_asks_again(site, services, videos):
    table = of_source(page(site, videos))
    first = shoot(services, table)
    assert shoot(services, table.slice(1)) == first[1:]
    assert len(site.asked) == 3
    gone = page(site, videos, "w", offers=("thumbnail",))
    del site.bodies["/w/hq.webp"]
    for _ in range(2):
        rows = shoot(services, of_source(gone, "w"))
        assert {(row["frame_jpeg"], row["frame_reason"]) for row in rows} == {(None, "gone")}
    assert site.asked == ["/watch/w", "/w/sound.m4a", "/w/hq.webp"]


def test_the_cache_forgets_audio_and_frames_together(site, services, videos):
    shoot(services, of_source(page(site, videos)))
    assert {path.name for path in (services.cache_dir / "v").iterdir()} == {"media.m4a", "frame.video", "page.json"}
    MediaCache(services.cache_dir).drop("v")
    assert not (services.cache_dir / "v").exists()


def test_media_that_holds_video_costs_no_request(site, services, videos):
    local = shoot(services, of_source(FileMedia(path=str(videos["both"]))))
    assert seconds(local) == [0, 2, 5]
    assert {row["frame_kind"] for row in local} == {"media"}
    formats = [{"format_id": "18", "url": "/m.mp4", "ext": "mp4", "vcodec": "h264", "acodec": "aac", "height": 144}]
    url = site.watch("m", videos["both"].read_bytes(), formats=formats)
    rows = shoot(services, of_source(YtdlpMedia(url=url), "m"))
    assert site.asked == ["/watch/m", "/m.mp4"]
    assert seconds(rows) == [0, 2, 5]
    assert {row["frame_kind"] for row in rows} == {"media"}


def test_sound_alone_has_no_frame_and_is_no_failure(services, videos):
    rows = shoot(services, of_source(FileMedia(path=str(videos["sound"]))))
    assert {(row["frame_jpeg"], row["frame_kind"], row["frame_reason"]) for row in rows} == {(None, None, "no_video")}
    assert all(row["outcome"] is None for row in rows)


def test_a_source_with_a_visual_caption_is_not_asked_for_pictures(site, services, videos):
    media = page(site, videos)
    rows = shoot(services, of_source(media, caption="a dog on the grass"))
    assert site.asked == ["/watch/v", "/v/sound.m4a"]
    assert {(row["frame_jpeg"], row["frame_reason"]) for row in rows} == {(None, "has_caption")}
    assert {row["video_caption"] for row in rows} == {"a dog on the grass"}


@pytest.mark.parametrize(
    ("path", "answers", "reason"),
    [
        ("/v/144.mp4", [403] * 2, "blocked"),
        ("/v/144.mp4", [429, 429], "http_429"),
        ("/v/144.mp4", [404], "gone"),
        ("/v/144.mp4", ["empty"], "empty_file"),
        ("/v/144.mp4", ["truncated", "truncated"], "truncated"),
    ],
)
def test_what_cannot_be_had_is_not_replaced_by_more_requests(site, services, videos, path, answers, reason):
    media = page(site, videos)
    site.answers[path] = answers
    rows = shoot(services, of_source(media))
    assert {(row["frame_reason"], row["outcome"]) for row in rows} == {(reason, None)}
    assert all(row["media_path"] for row in rows)
    assert "/v/hq.webp" not in site.asked
    assert "/v/M0.jpg" not in site.asked


def test_a_frame_may_fail_where_the_page_does_after_a_planned_address(site, services, videos):
    media = page(site, videos)
    address = Address(url=f"{site.url}/v/sound.m4a", format_id="a", ext="m4a", protocol="http")
    site.answers["/watch/v"] = [403] * 2
    rows = shoot(services, of_source(YtdlpMedia(url=media.url, address=address)))
    assert {(row["frame_reason"], row["outcome"]) for row in rows} == {("blocked", None)}


@pytest.mark.parametrize("body", [b"<html>no picture</html>", b"GIF89a" + bytes(50), storyboard()[:400], bytes(100)])
def test_bodies_that_are_no_pictures(site, services, videos, body):
    media = page(site, videos, offers=("thumbnail",))
    site.put("/v/hq.webp", body)
    rows = shoot(services, of_source(media))
    assert {(row["frame_jpeg"], row["frame_reason"]) for row in rows} == {(None, "bad_image")}


def test_bounds_of_size(site, services, videos, monkeypatch):
    media = page(site, videos, offers=("thumbnail",))
    site.put("/v/hq.webp", bytes(11_000_000))
    rows = shoot(services, of_source(media))
    assert {row["frame_reason"] for row in rows} == {"too_large"}
    media = page(site, videos, "w", offers=("video",))
    site.put("/w/144.mp4", videos["pictures"].read_bytes() + bytes(200_000))  # the page says 20 kB
    rows = shoot(services, of_source(media, "w"), max_video_mb=0.1)
    assert {row["frame_reason"] for row in rows} == {"too_large"}
    media = page(site, videos, "x", offers=("video",))
    rows = shoot(services, of_source(media, "x"), max_video_mb=0.0199)
    assert {row["frame_reason"] for row in rows} == {"not_offered"}


def test_a_time_that_the_storyboard_does_not_reach(site, services, videos):
    media = page(site, videos, offers=("storyboard",))
    table = clips([("v", to_json(media), *span, None) for span in [(0, 1_000), (50_000, 51_000)]])
    rows = shoot(services, table)
    assert [row["frame_reason"] for row in rows] == [None, "no_tile"]


def test_frames_are_small_and_the_same_each_time(services, tmp_path):
    wide = write_video(tmp_path / "wide.mp4", 6, size=(1280, 720))
    first = shoot(services, of_source(FileMedia(path=str(wide))))
    assert all(open_image(row["frame_jpeg"]).size == (384, 216) for row in first)
    assert shoot(services, of_source(FileMedia(path=str(wide)))) == first
    small = shoot(services, of_source(FileMedia(path=str(wide))), max_side_px=96)
    assert open_image(small[0]["frame_jpeg"]).size == (96, 54)
