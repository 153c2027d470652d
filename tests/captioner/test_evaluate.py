"""Captioning a data set with several numbers of beams: heard once, bounded, faults passed on."""

import numpy as np
import pytest

from captioner.embedded import EmbeddedCaptioner
from captioner.evaluate import Clip, Said, Unheard, caption_clips
from captioner.load import WEIGHTS, Metadata
from scorer.load import load_scorer

RATE_HZ = 16_000


class Counting(EmbeddedCaptioner):
    """The embedded captioner, and the clips of each call of `encode` and beams of each call of `say`."""

    def __init__(self, scorer):
        super().__init__(WEIGHTS, scorer=scorer)
        self.encoded, self.spoken = [], []

    def encode(self, waves, **told):
        self.encoded.append(len(waves))
        return super().encode(waves, **told)

    def say(self, encoded, *, beams=2):
        self.spoken.append(beams)
        return super().say(encoded, beams=beams)


def noise(seconds, seed, rate=RATE_HZ):
    return (np.random.default_rng(seed).standard_normal(round(seconds * rate)) * 0.1).astype(np.float32)


@pytest.fixture(scope="module")
def scorer():
    return load_scorer()


@pytest.fixture
def captioner(scorer):
    return Counting(scorer)


def clips(count):
    return [Clip(f"{k}", noise(1, k), RATE_HZ, ("some noise",), Metadata(title="Rain")) for k in range(count)]


def test_every_clip_is_encoded_once_for_all_beams(captioner, scorer):
    said = list(caption_clips(captioner, clips(3), [1, 2, 3], scorer))
    assert captioner.encoded == [3]
    assert captioner.spoken == [1, 2, 3]
    assert [one.name for one in said] == ["0", "1", "2"]
    for one in said:
        assert isinstance(one, Said)
        assert list(one.captions) == list(one.clap) == [1, 2, 3]
        assert one.references == ("some noise",)


def test_captions_and_scores_are_those_of_the_captioner_and_scorer_alone(captioner, scorer):
    three = clips(3)
    waves = [clip.wave for clip in three]
    said = list(caption_clips(captioner, three, [1, 2], scorer))
    for beams in (1, 2):
        alone = captioner.caption(waves, metadata=[clip.metadata for clip in three], beams=beams)
        assert [one.captions[beams] for one in said] == alone
        scores = (scorer.embed_audio(waves) * scorer.embed_text([one.text for one in alone])).sum(axis=1)
        assert [one.clap[beams] for one in said] == pytest.approx(scores.tolist(), abs=1e-5)


def test_without_a_scorer_there_are_no_scores(captioner):
    (said,) = caption_clips(captioner, clips(1), [1])
    assert said.clap == {}


def test_batches_are_bounded_and_read_no_further_than_they_need(captioner):
    read = []

    def reading():
        for clip in clips(5):
            read.append(clip.name)
            yield clip

    said = caption_clips(captioner, reading(), [1], batch=2)
    next(said)
    assert read == ["0", "1"]
    assert len(list(said)) == 4
    assert captioner.encoded == [2, 2, 1]


def test_long_clips_end_a_batch_early(captioner):
    long = [Clip(str(k), np.zeros(330 * 1000, np.float32), 1000, ("x",)) for k in range(3)]
    assert len(list(caption_clips(captioner, long, [1]))) == 3
    assert captioner.encoded == [2, 1]


def test_what_cannot_be_heard_is_passed_on_and_the_rest_is_captioned(captioner):
    bad = [
        Unheard("gone", "unreadable", "there is no such file"),
        Clip("empty", np.zeros(0, np.float32), RATE_HZ, ("x",)),
        Clip("nan", np.full(RATE_HZ, np.nan, np.float32), RATE_HZ, ("x",)),
        Clip("inf", np.full(RATE_HZ, np.inf, np.float32), RATE_HZ, ("x",)),
    ]
    found = list(caption_clips(captioner, [*bad, *clips(1)], [1]))
    assert [one.reason for one in found if isinstance(one, Unheard)] == [
        "unreadable", "too_short", "not_finite", "not_finite",
    ]  # fmt: skip
    assert [one.name for one in found if isinstance(one, Said)] == ["0"]


def test_silence_has_a_caption(captioner):
    (said,) = caption_clips(captioner, [Clip("silence", np.zeros(RATE_HZ, np.float32), RATE_HZ, ("x",))], [2])
    assert isinstance(said, Said)
