"""Hearing a set: once, in the order of names, with what cannot be heard left out; strange extractors are found out."""

import numpy as np
import pytest
import soundfile

from generation.errors import GenerationError
from generation.evaluation.extractors.face import Embedded
from generation.evaluation.hearing import hear
from generation.evaluation.sounds import FolderSounds, Sound, Unread


class Levels:
    """Hears how loud each half second is, and tells two classes: loud and quiet."""

    name, weights_sha256, sample_rate_hz, window_s, dim = "levels", "0" * 64, 8000, 0.5, 2

    def embed(self, waves):
        vectors, logits = [], []
        for wave in waves:
            parts = np.array_split(wave, max(wave.size // 4000, 1))
            vectors += [[np.abs(part).mean(), np.abs(part).max()] for part in parts]
            logits.append([np.abs(wave).max(), -1.0])
        return Embedded(np.array(vectors, np.float32), np.array(logits, np.float32))


class InMemory:
    place = "memory"

    def __init__(self, sounds):
        self._sounds = sounds
        self.names = sorted(sound.name for sound in sounds)

    def read(self, names):
        return (sound for sound in self._sounds if sound.name in names)


def clip(name, peak, seconds=1.0, rate=16_000):
    wave = (peak * np.sin(np.arange(round(seconds * rate)) * 0.1)).astype(np.float32)
    return Sound(name, wave, rate, (f"at {peak}",))


def test_rows_are_in_the_order_of_names_however_the_sounds_lie():
    sounds = InMemory([clip("b", 0.2), clip("a", 0.1), clip("c", 0.3, seconds=2.0, rate=8000)])
    heard = hear(sounds, sounds.names, [Levels()], keep_vectors=True)
    assert heard.names == ["a", "b", "c"]
    assert heard.captions == [("at 0.1",), ("at 0.2",), ("at 0.3",)]
    assert heard.seconds == [1.0, 1.0, 2.0]
    assert heard.rates_hz == {16_000: 2, 8000: 1}
    np.testing.assert_allclose([row[0] for row in heard.kept[0].logits], [0.1, 0.2, 0.3], atol=0.01)
    assert heard.kept[0].gaussian.count == len(heard.kept[0].vectors) == 8
    np.testing.assert_allclose(heard.kept[0].gaussian.mean, np.mean(heard.kept[0].vectors, axis=0), atol=1e-6)


def test_vectors_are_kept_only_when_they_are_asked_for():
    heard = hear(InMemory([clip("a", 0.1)]), ["a"], [Levels()])
    assert heard.kept[0].vectors == []


def test_only_the_named_sounds_and_their_beginnings_are_heard():
    sounds = InMemory([clip("a", 0.1, seconds=3), clip("b", 0.1, seconds=3), clip("c", 0.2, seconds=0.5)])
    heard = hear(sounds, ["a", "c"], [Levels()], clip_s=1.5)
    assert dict(zip(heard.names, heard.seconds, strict=True)) == {"a": 1.5, "c": 0.5}


def test_batches_change_nothing(monkeypatch):
    sounds = InMemory([clip(f"s{k}", 0.1 * k + 0.1) for k in range(7)])
    whole = hear(sounds, sounds.names, [Levels()])
    monkeypatch.setattr("generation.evaluation.hearing._TOGETHER_CLIPS", 2)
    some = hear(sounds, sounds.names, [Levels()])
    assert some.names == whole.names
    np.testing.assert_allclose(some.kept[0].gaussian.covariance, whole.kept[0].gaussian.covariance, atol=1e-12)


def test_what_cannot_be_heard_is_counted_and_told(tmp_path):
    soundfile.write(tmp_path / "good.wav", clip("x", 0.2).wave, 16_000)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    told = []
    sounds = FolderSounds(str(tmp_path))
    heard = hear(sounds, sounds.names, [Levels()], on_clip=told.append)
    assert heard.names == ["good"]
    assert [one.name for one in heard.unread] == ["bad"]
    assert told == [heard.unread[0], None]


def test_a_set_without_one_sound_that_can_be_heard_is_refused():
    sounds = InMemory([])
    sounds.read = lambda names: iter([Unread("a", "undecodable", "not a sound")])
    with pytest.raises(GenerationError, match=r"none of the 1 sounds of memory can be heard \(a: not a sound\)"):
        hear(sounds, ["a"], [Levels()])


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (Embedded(np.zeros((1, 3), np.float32)), r"vectors of shape \(1, 3\), not \(…, 2\)"),
        (
            Embedded(np.zeros((1, 2), np.float32), np.zeros((2, 4), np.float32)),
            r"logits of shape \(2, 4\), not \(1, …\)",
        ),
        (Embedded(np.full((1, 2), np.inf, np.float32)), "vectors that are not finite"),
    ],
)
def test_an_extractor_that_breaks_its_word_is_named(found, message):
    ears = Levels()
    ears.embed = lambda waves: found
    with pytest.raises(GenerationError, match=rf"levels made of 1 clips \(a, …\) {message}"):
        hear(InMemory([clip("a", 0.1)]), ["a"], [ears])
