from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from captioner.autocap.captioner import AutoCap
from captioner.load import CaptionerError, Metadata, load_captioner, model_name
from scorer.load import load_scorer
from scorer.load import model_name as scorer_name
from tests.small_autocap import options, save_small_autocap

RATE = 32_000


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return save_small_autocap(tmp_path_factory.mktemp("autocap"))


@pytest.fixture(scope="module")
def captioner(small):
    return load_captioner(str(small.checkpoint), options=options(small))


def tone(hz, seconds, seed=0):
    t = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).normal(size=t.size)
    return (0.3 * np.sin(2 * np.pi * hz * t) + 0.05 * noise).astype(np.float32)


WAVES = [tone(200, 10), tone(900, 3.2, 1), tone(2500, 0.5, 2), tone(5000, 10, 3), tone(440, 9, 4)]
TOLD = [
    Metadata(title="My dog at the lake", video_caption="a dog"),
    Metadata(),
    Metadata(title="rain"),
    *[Metadata()] * 2,
]


def test_it_names_itself_and_its_clap(captioner, small):
    assert model_name(captioner).startswith("autocap-full@")
    assert captioner.sample_rate_hz == RATE
    assert captioner.clap_name.startswith("clap@")


def test_captions_differ_by_sound_by_title_and_by_beams(captioner):
    said = captioner.caption(WAVES, metadata=TOLD)
    assert len({text for text, _ in said}) > 1
    other = captioner.caption(WAVES[:1], metadata=[Metadata(title="rain falls on a roof")])
    assert (other[0] != said[0]) or captioner.caption(WAVES[:1], beams=4)[0] != said[0]


def test_a_pass_of_one_or_of_many_says_the_same(captioner, small):
    together = captioner.caption(WAVES, metadata=TOLD)
    alone = [captioner.caption([wave], metadata=[told])[0] for wave, told in zip(WAVES, TOLD, strict=True)]
    assert [text for text, _ in together] == [text for text, _ in alone]
    np.testing.assert_allclose([p for _, p in together], [p for _, p in alone], atol=1e-3)


def test_one_encoding_serves_every_beam(captioner):
    encoded = captioner.encode(WAVES[:2], metadata=TOLD[:2])
    for beams in (1, 2, 4):
        assert captioner.say(encoded, beams=beams) == captioner.caption(WAVES[:2], metadata=TOLD[:2], beams=beams)


def test_embeddings_that_are_given_are_not_made_again(captioner, small):
    scorer = load_scorer(str(small.clap), options=options(small).clap_options)
    from audio.resample import resample

    given = scorer.embed_audio([resample(wave, RATE, scorer.sample_rate_hz) for wave in WAVES])
    lent = load_captioner(str(small.checkpoint), options=options(small).__class__(bart=str(small.bart)))
    assert lent.clap_name is None
    assert lent.caption(WAVES, metadata=TOLD, clap_embeddings=given) == captioner.caption(WAVES, metadata=TOLD)
    with pytest.raises(CaptionerError, match="name that CLAP"):
        lent.caption(WAVES)
    with pytest.raises(CaptionerError, match=r"have shape \(5, 7\)"):
        captioner.caption(WAVES, clap_embeddings=np.zeros((5, 7)))
    assert scorer_name(scorer) == captioner.clap_name


def test_the_references_clap_token_hears_the_levelled_window(small):
    reference = load_captioner(str(small.checkpoint), options=options(small, clap_token="reference"))
    quiet = [0.01 * wave for wave in WAVES]
    assert reference.caption(quiet) == reference.caption(WAVES)


def test_a_long_clip_is_heard_by_its_first_window_or_by_all(small):
    wave = np.concatenate([WAVES[0], WAVES[3]])
    first, likeliest, join = (
        load_captioner(str(small.checkpoint), options=options(small, long_clips=how))
        for how in ("first", "likeliest", "join")
    )
    embedding = np.zeros((1, first.net.shape.clap_dim), np.float32)
    windows = [first.caption([part], clap_embeddings=embedding)[0] for part in (WAVES[0], WAVES[3])]
    assert first.caption([wave], clap_embeddings=embedding) == windows[:1]
    assert likeliest.caption([wave], clap_embeddings=embedding) == [max(windows, key=lambda said: said.logprob)]
    joined = join.caption([wave], clap_embeddings=embedding)[0].text
    assert joined == ", then ".join(said.text.rstrip(" .") for said in windows) or windows[0].text == windows[1].text


def test_tag_spacing_and_description_change_what_is_read(small):
    stripped, kept = (
        load_captioner(str(small.checkpoint), options=options(small, tag_spacing=how)) for how in ("stripped", "kept")
    )
    told = [Metadata(title="My dog at the lake", video_caption="a dog")]
    a, b = (c.encode(WAVES[:1], metadata=told).passes[0][1] for c in (stripped, kept))
    assert a.shape[1] < b.shape[1]
    described = stripped.encode(WAVES[:1], metadata=[told[0]._replace(description="rain")]).passes[0][1]
    assert described.shape[1] > a.shape[1]


@pytest.mark.parametrize(
    ("wave", "told"),
    [
        (np.zeros(100, np.float32), "100 samples is too short"),
        (np.array([np.nan] * 500, np.float32), "not finite"),
        (np.array([np.inf] * 500, np.float32), "not finite"),
        (np.zeros((2, 500), np.float32), "must be mono"),
        (np.zeros(0, np.float32), "no samples"),
    ],
)
def test_what_cannot_be_heard_is_refused(captioner, wave, told):
    with pytest.raises(ValueError, match=told):
        captioner.caption([wave], clap_embeddings=np.zeros((1, captioner.net.shape.clap_dim)))


def test_no_clip_at_all_is_no_fault(small):
    lent = load_captioner(str(small.checkpoint), options=options(small).__class__(bart=str(small.bart)))
    assert lent.caption([]) == []


def test_the_clap_that_is_named_goes_before_the_one_that_is_lent(small):
    lent = load_scorer(str(small.clap), options=replace(options(small).clap_options, filling="pad"))
    captioner = load_captioner(str(small.checkpoint), scorer=lent, options=options(small))
    assert captioner.clap_name != scorer_name(lent)
    assert captioner.clap_name.startswith("clap@")


def test_silence_is_captioned_without_a_fault(captioner):
    (said,) = captioner.caption([np.zeros(RATE, np.float32)])
    assert np.isfinite(said.logprob)


def test_bfloat16_says_nearly_the_same(small, captioner):
    half = load_captioner(str(small.checkpoint), options=options(small, precision="bfloat16"))
    ours, theirs = (c.encode(WAVES[:1]).passes[0][1].float() for c in (captioner, half))
    assert float((ours - theirs).abs().mean()) < 0.05 * float(ours.abs().mean())
    assert half.caption(WAVES[:1])[0].text


def test_32_tokens_take_each_of_the_towers_once(small):
    few = load_captioner(str(small.checkpoint), options=options(small, audio_tokens=32))
    assert few.net.repeats == 1
    assert few.caption(WAVES[:1])[0].text


class Narrow(AutoCap):
    """A device whose memory holds two clips, and says so as CUDA does."""

    asked: ClassVar[list[int]] = []

    def bart_input(self, parts):
        self.asked.append(len(parts))
        if len(parts) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().bart_input(parts)


def test_passes_shrink_to_what_the_memory_holds(captioner):
    narrow = Narrow(
        captioner.net, captioner._tokenizer, model_id="narrow", weights_sha256="0" * 64, scorer=captioner._scorer
    )
    assert narrow.caption(WAVES, metadata=TOLD) == captioner.caption(WAVES, metadata=TOLD)
    assert Narrow.asked == [5, 3, 2, 2, 1]


def test_options_that_a_small_captioner_has_not(small):
    with pytest.raises(CaptionerError, match="has no options"):
        load_captioner("embedded", options=options(small))
