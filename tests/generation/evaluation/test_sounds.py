"""Folders and shards of sounds: names, captions beside them, and what cannot be heard."""

import io
import json
import tarfile

import numpy as np
import pytest
import soundfile

from generation.errors import GenerationError
from generation.evaluation.sounds import Sound, Unread, captions_in, find_sounds
from training.errors import TrainError

TONE = (0.3 * np.sin(np.arange(8000) * 0.2)).astype(np.float32)


def write(path, wave=TONE, rate=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate)


def test_a_folders_sounds_are_named_by_their_paths_and_read_in_order(tmp_path):
    write(tmp_path / "b.wav")
    write(tmp_path / "in" / "a.b.flac", np.stack([TONE, -0.5 * TONE], axis=1), 22_050)
    write(tmp_path / ".hidden.wav")
    (tmp_path / "b.json").write_text(json.dumps({"prompt": "a tone", "seed": 3}))
    (tmp_path / "notes.txt").write_text("x")
    sounds = find_sounds(str(tmp_path), "test")
    assert sounds.names == ["b", "in/a.b"]
    first, second = sounds.read(set(sounds.names))
    assert (first.name, first.captions, first.sample_rate_hz) == ("b", ("a tone",), 16_000)
    assert (second.sample_rate_hz, second.captions) == (22_050, ())
    np.testing.assert_allclose(second.wave, 0.25 * TONE, atol=1e-4)
    assert [one.name for one in sounds.read({"in/a.b"})] == ["in/a.b"]


def test_what_cannot_be_heard_has_a_reason(tmp_path):
    write(tmp_path / "good.wav")
    (tmp_path / "cut.wav").write_bytes((tmp_path / "good.wav").read_bytes()[:20])
    (tmp_path / "nothing.wav").write_bytes(b"")
    soundfile.write(tmp_path / "strange.wav", np.full(4000, np.nan, np.float32), 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "short.wav", np.zeros(0, np.float32), 16_000)
    sounds = find_sounds(str(tmp_path), "test")
    found = {one.name: one for one in sounds.read(set(sounds.names))}
    assert isinstance(found["good"], Sound)
    assert {name: one.reason for name, one in found.items() if isinstance(one, Unread)} == {
        "cut": "undecodable", "nothing": "empty_file", "strange": "bad_samples", "short": "undecodable",
    }  # fmt: skip


def test_places_without_sounds_are_told(tmp_path):
    with pytest.raises(GenerationError, match="is no folder of sounds"):
        find_sounds(str(tmp_path / "nowhere"), "test")
    with pytest.raises(GenerationError, match="holds no sound"):
        find_sounds(str(tmp_path), "test")


def test_two_sounds_of_one_name_are_refused(tmp_path):
    write(tmp_path / "a.wav")
    write(tmp_path / "a.flac")
    with pytest.raises(GenerationError, match="several sounds are named a:"):
        find_sounds(str(tmp_path), "test")


def flac(wave=TONE):
    out = io.BytesIO()
    soundfile.write(out, wave, 16_000, format="FLAC")
    return out.getvalue()


def write_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_shards_sounds_are_named_by_their_keys(tmp_path):
    record = json.dumps({"text": ["a tone", "a beep"]}).encode()
    write_tar(tmp_path / "00000.tar", [("k2.flac", flac()), ("k2.json", record)])
    write_tar(
        tmp_path / "00001.tar",
        [("k1.flac", flac()), ("k1.json", b"{"), ("k3.json", record), ("k4.flac", b"fLaC?"), ("k4.json", record)],
    )
    sounds = find_sounds(str(tmp_path), "test")
    assert sounds.names == ["k1", "k2", "k3", "k4"]
    found = {one.name: one for one in sounds.read({"k1", "k2", "k3", "k4"})}
    assert found["k2"].captions == ("a tone", "a beep")
    assert (found["k1"].captions, found["k1"].sample_rate_hz) == ((), 16_000)
    assert found["k3"].reason == "no_sound"
    assert found["k4"].reason == "undecodable"
    assert find_sounds(str(tmp_path / "00000.tar"), "test").names == ["k2"]


def test_a_damaged_tar_is_told(tmp_path):
    write_tar(tmp_path / "00000.tar", [("a.flac", flac()), ("a.json", b"{}"), ("b.flac", flac()), ("b.json", b"{}")])
    whole = (tmp_path / "00000.tar").read_bytes()
    (tmp_path / "00000.tar").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(TrainError, match=r"00000\.tar"):
        find_sounds(str(tmp_path), "test")
    (tmp_path / "sizes.json").write_text('{"00000.tar": 2}')  # which is believed, so that the tar is opened later
    with pytest.raises(GenerationError, match=r"00000\.tar cannot be read"):
        find_sounds(str(tmp_path), "test")


@pytest.mark.parametrize(
    ("record", "captions"),
    [
        ({"prompt": " rain ", "text": "other"}, ("rain",)),
        ({"prompt": "", "caption": "rain"}, ("rain",)),
        ({"captions": ["a", 3, "  ", "b"]}, ("a", "b")),
        ({"text": {"x": 1}}, ()),
        ([1], ()),
        (None, ()),
    ],
)
def test_captions_are_texts_only(record, captions):
    assert captions_in(record) == captions
