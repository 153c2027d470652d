"""What a page offers to see, from yt-dlp's dictionaries of several shapes, and which of it is chosen."""

import pytest

from stages import frame_offers
from stages.frame_offers import Offers, Storyboard, Thumbnail, Video, offers_of, recall, remember

ALL = ("video", "storyboard", "thumbnail")


def video(name, height, **more):
    return {"format_id": name, "url": f"https://a.example/{name}", "protocol": "https", "ext": "mp4", "vcodec": "h264",
            "acodec": "none", "height": height, **more}  # fmt: skip


def board(name, pages, height, **more):
    urls = [{"url": f"https://i.example/{name}/M{at}.jpg", "duration": 25.0} for at in range(pages)]
    return {"format_id": name, "url": f"https://i.example/{name}", "protocol": "mhtml", "ext": "mhtml",
            "vcodec": "none", "acodec": "none", "columns": 5, "rows": 5, "width": height * 16 // 9,
            "height": height, "fps": 0.5, "fragments": urls, **more}  # fmt: skip


def choose(info, take=ALL, min_height_px=90, storyboard_pages=1, max_video_bytes=10**9):
    return offers_of(info).choose(
        take, min_height_px=min_height_px, storyboard_pages=storyboard_pages, max_video_bytes=max_video_bytes
    )


def test_the_smallest_video_that_is_high_enough():
    formats = [
        video("tiny", 48, filesize=100),
        video("low", 144, filesize=900),
        video("low_av1", 144, tbr=40),  # 40 kbit/s for 0.1 s
        video("high", 720, filesize=9_000),
        video("hls", 144, filesize=1, protocol="m3u8_native"),
        video("dash", 144, filesize=1, protocol="http_dash_segments", fragments=[{"url": "x"}]),
        video("locked", 144, filesize=1, has_drm=True),
        {**video("sound", None), "vcodec": "none", "filesize": 1},
    ]
    info = {"formats": formats, "duration": 0.1}
    assert choose(info).address.format_id == "low_av1"
    assert choose({**info, "duration": 3600.0}).address.format_id == "low"
    assert choose(info, min_height_px=400).address.format_id == "high"
    assert choose(info, min_height_px=4000).address.format_id == "high"
    assert choose({"formats": formats[:1]}).address.format_id == "tiny"
    assert choose({"formats": formats[3:4]}, max_video_bytes=8_999) is None


def test_the_largest_tiles_that_are_few_enough_images():
    info = {"formats": [board("sb0", 9, 180), board("sb1", 3, 90), board("sb2", 1, 45)], "duration": 150}
    assert choose(info) is None
    assert choose(info, min_height_px=45).height_px == 45
    assert choose(info, storyboard_pages=3).height_px == 90
    assert choose(info, storyboard_pages=64).urls == tuple(f"https://i.example/sb0/M{at}.jpg" for at in range(9))


def test_a_tile_shows_its_time():
    shown = choose({"formats": [board("sb", 2, 90)]}, storyboard_pages=2)  # 25 tiles an image, one for two seconds
    assert shown.place(0) == (0, (0, 0, 160, 90))
    assert shown.place(1_999) == (0, (0, 0, 160, 90))
    assert shown.place(13_000) == (0, (160, 90, 320, 180))
    assert shown.place(51_000) == (1, (0, 0, 160, 90))


def test_the_smallest_thumbnail_that_is_wide_enough():
    pictures = [
        {"url": "https://i.example/small.jpg", "width": 120},
        {"url": "https://i.example/hq.jpg", "width": 480, "http_headers": {"Referer": "x"}},
        {"url": "https://i.example/max.jpg", "width": 1920},
        {"url": "https://i.example/perhaps.jpg"},
    ]
    assert choose({"thumbnails": pictures}) == Thumbnail(
        url="https://i.example/hq.jpg", width_px=480, http_headers={"Referer": "x"}
    )
    assert choose({"thumbnails": [pictures[0], pictures[3]]}).url.endswith("perhaps.jpg")
    assert choose({"thumbnails": [{"url": "file:///etc/passwd"}, {"url": None}, "odd"]}) is None


def test_the_first_kind_of_the_recipe_that_there_is():
    info = {
        "formats": [video("v", 144, filesize=5), board("sb", 1, 90)],
        "thumbnails": [{"url": "https://i.example/t.jpg"}],
    }
    kinds = [type(choose(info, take)) for take in (ALL, ("storyboard", "video"), ("thumbnail",))]
    assert kinds == [Video, Storyboard, Thumbnail]
    assert isinstance(choose(info, max_video_bytes=4), Storyboard)
    assert choose({}) is None


@pytest.mark.parametrize(
    "odd",
    [{"columns": 0}, {"fps": float("nan"), "fragments": []}, {"fragments": [{"url": "ftp://x"}]}, {"width": "wide"},
     {"fragments": [{"url": "https://x"}] * 65}, {"height": True}, {"rows": 10**9}, {"fps": 0}],
)  # fmt: skip
def test_odd_storyboards_are_left_out(odd):
    assert offers_of({"formats": [board("sb", 1, 90) | odd]}).storyboards == ()


def test_what_was_remembered_is_recalled_once(monkeypatch):
    monkeypatch.setattr(frame_offers, "REMEMBERED", 2)
    for name in "abc":
        remember(f"https://p.example/{name}", {"formats": [video(name, 144)]})
    assert recall("https://p.example/a") is None
    assert recall("https://p.example/c").videos[0].address.format_id == "c"
    assert recall("https://p.example/c") is None
    assert isinstance(recall("https://p.example/b"), Offers)
