"""Frames of real small video files: the right one, however the file is built, and no trouble from bad ones."""

from pathlib import Path

import av
import numpy as np
import pytest

from audio.faults import DecodeError
from stages import video_frames
from stages.video_frames import NoVideo, VideoFrames
from tests.small_video import second_of, write_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("video")


@pytest.mark.parametrize(
    ("name", "key_every", "codec"),
    [("a.mp4", 8, "mpeg4"), ("b.mkv", 24, "mpeg4"), ("c.mp4", 400, "mpeg4"), ("d.avi", 8, "mpeg4"),
     ("e.ts", 8, "mpeg2video"), ("f.webm", 16, "libvpx")],
)  # fmt: skip
def test_the_frame_of_a_time_is_the_one_on_the_screen_then(folder, name, key_every, codec):
    audio = not name.endswith("webm")
    path = write_video(folder / name, 6, key_every=key_every, codec=codec, audio=audio, fps=24 if ".ts" in name else 8)
    with VideoFrames(path) as video:
        forward = [second_of(video.at(ms)) for ms in (500, 1_500, 2_960, 3_200, 5_500)]
        back = [second_of(video.at(ms)) for ms in (4_500, 500, 5_900)]
    assert forward == [0, 1, 2, 3, 5]
    assert back == [4, 0, 5]


def test_before_the_first_and_after_the_last_frame(folder):
    path = write_video(folder / "short.mp4", 3)
    with VideoFrames(path) as video:
        assert second_of(video.at(0)) == 0
        assert second_of(video.at(60_000)) == 2


def test_a_file_with_one_key_frame_is_decoded_once_not_once_per_clip(folder):
    path = write_video(folder / "one_key.mp4", 30, key_every=10_000)
    with VideoFrames(path) as video:
        seconds = [second_of(video.at(ms)) for ms in range(500, 30_000, 5_000)]
        assert video._sought_in_vain
    assert seconds == [k * 5 % 6 for k in range(6)]


def test_pictures_are_scaled_down_before_they_are_rgb(folder):
    path = write_video(folder / "wide.mp4", 1, size=(640, 360))
    with VideoFrames(path, max_side_px=384) as video:
        assert video.at(100).size == (384, 216)


def test_sound_and_cover_art_are_no_video(folder):
    sound = folder / "sound.mp3"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("mp3", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(NoVideo):
        VideoFrames(sound)
    covered = with_cover(sound.read_bytes(), folder / "covered.mp3")
    assert len(av.open(str(covered)).streams.video) == 1
    with pytest.raises(NoVideo):
        VideoFrames(covered)


def with_cover(mp3: bytes, path: Path) -> Path:
    """ID3v2 with an attached PNG."""
    import io

    from PIL import Image

    png = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(png, "PNG")
    body = b"\0image/png\0\x03\0" + png.getvalue()
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\0\0" + body
    size = bytes((len(frame) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\0\0" + size + frame + mp3[mp3.find(b"\xff\xf3") :])
    return path


def test_pictures_beyond_all_bounds_are_refused_by_the_header(folder, monkeypatch):
    path = write_video(folder / "bomb.mp4", 1)
    monkeypatch.setattr(video_frames, "MAX_PIXELS", 160 * 90 - 1)
    with pytest.raises(DecodeError, match="160 x 90"):
        VideoFrames(path)


def test_damage_is_told_and_does_not_hang(folder):
    whole = write_video(folder / "whole.mp4", 6, key_every=400).read_bytes()
    damaged = folder / "damaged.mp4"
    start = whole.find(b"mdat")
    size = int.from_bytes(whole[start - 4 : start], "big")
    damaged.write_bytes(whole[: start + 4] + bytes(size - 8) + whole[start + size - 4 :])
    with pytest.raises(DecodeError) as caught, VideoFrames(damaged) as video:
        video.at(500)
    assert caught.value.reason == "undecodable"
    text = folder / "text.mp4"
    text.write_text("no video at all " * 100)
    with pytest.raises(DecodeError):
        VideoFrames(text)


def test_a_run_without_a_key_frame_ends(folder, monkeypatch):
    path = write_video(folder / "long_run.mp4", 6, key_every=400)
    monkeypatch.setattr(video_frames, "MAX_DECODED", 20)
    with VideoFrames(path) as video, pytest.raises(DecodeError, match="20 frames away"):
        video.at(5_500)
