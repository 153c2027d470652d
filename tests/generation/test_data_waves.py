import json

import numpy as np
import pytest
import torch

from generation.data_recipe import Filters, Mixing
from generation.data_waves import Sound, WaveClip, Waves
from tests.sound_shards import RATE_HZ, members, tone
from training.samples import Unusable

SECOND = RATE_HZ


def level(wave):
    peak = np.abs(wave).max(initial=0.0)
    return wave / peak * np.float32(0.5) if peak else wave


def waves(samples=SECOND, filters=None, mixing=None):
    return Waves(RATE_HZ, samples, level, filters or Filters(), mixing or Mixing())


def sample(*args, **more):
    return {
        "__key__": "k",
        "__url__": "u",
        **{name.split(".", 1)[1]: data for name, data in members("k", *args, **more)},
    }


def draws(seed=0):
    return np.random.default_rng(seed)


def test_a_short_clip_is_levelled_and_filled_up_with_zeros():
    kind = waves()
    batch = kind.batch([kind.clip(sample(wave=tone(440, 0.25, level=0.05)), "ours", draws())], draws())
    assert batch.waves.shape == (1, SECOND)
    assert batch.waves.dtype == torch.float32
    assert float(batch.waves[0, : SECOND // 4].abs().max()) == pytest.approx(0.5, abs=1e-3)
    assert not batch.waves[0, SECOND // 4 :].any()
    assert (batch.keys, batch.captions, batch.datasets) == (["k"], ["a tone"], ["ours"])


@pytest.mark.parametrize(("rate", "codec"), [(48_000, "flac"), (44_100, "wav"), (48_000, "opus"), (22_050, "mp3")])
def test_every_rate_and_codec_comes_at_the_generator_s(rate, codec):
    clip = waves(2 * SECOND).clip(sample(wave=tone(440, 1.5, rate=rate), rate=rate, codec=codec), None, None)
    assert clip.wave.size == pytest.approx(1.5 * RATE_HZ, rel=0.05)
    spectrum = np.abs(np.fft.rfft(clip.wave[:RATE_HZ]))
    assert int(spectrum.argmax()) == pytest.approx(440, abs=2)


def test_a_long_clip_is_cropped_at_random_and_the_same_again():
    ramp = sample(wave=np.linspace(0.1, 0.9, 5 * SECOND, dtype=np.float32))
    kind = waves()
    starts = [float(kind.clip(ramp, None, draws(seed)).wave[0]) for seed in range(8)]
    assert len(set(starts)) == 8
    assert starts == [float(kind.clip(ramp, None, draws(seed)).wave[0]) for seed in range(8)]
    assert float(kind.clip(ramp, None, None).wave[0]) == pytest.approx(0.1, abs=1e-3)
    assert kind.clip(ramp, None, draws()).wave.size == SECOND


def test_a_crop_that_is_heard_is_looked_for():
    wave = np.zeros(4 * SECOND, dtype=np.float32)
    wave[2 * SECOND :] = tone(440, 2.0)
    for seed in range(20):
        assert np.abs(waves().clip(sample(wave=wave), None, draws(seed)).wave).max() > 0.1
    assert np.abs(waves().clip(sample(wave=wave), None, None).wave).max() > 0.1


def test_a_clip_of_zeros_is_passed_over_or_stays_silence():
    nothing = sample(wave=np.zeros(SECOND, dtype=np.float32))
    with pytest.raises(Unusable, match="silent"):
        waves().clip(nothing, None, draws())
    kept = waves(filters=Filters(keep_silence=True))
    batch = kept.batch([kept.clip(nothing, None, draws())], draws())
    assert not batch.waves.any()
    assert torch.isfinite(batch.waves).all()


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        (Filters(clap_min=0.6), "clap_below_min"),
        (Filters(min_s=1.0), "too_short"),
        (Filters(max_s=0.4), "too_long"),
        (Filters(max_caption_chars=3), "caption_too_long"),
        (Filters(clap_min=0.5, min_s=0.5, max_s=0.5), None),
    ],
)
def test_filters_pass_over_by_what_the_record_says(filters, reason):
    one = sample()
    if reason is None:
        assert waves(filters=filters).clip(one, None, draws()).key == "k"
        return
    with pytest.raises(Unusable, match=reason):
        waves(filters=filters).clip({**one, "flac": b"not even decoded"}, None, draws())


def test_a_duration_that_no_record_tells_is_heard():
    one = sample()
    one["json"] = json.dumps({"text": "hm"}).encode()
    assert waves().clip(one, None, None).caption == "hm"
    with pytest.raises(Unusable, match="too_short"):
        waves(filters=Filters(min_s=1.0)).clip(one, None, None)
    with pytest.raises(Unusable, match="no_clap_score"):
        waves(filters=Filters(clap_min=0.1)).clip(one, None, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"json": b"{"}, "no_record"),
        ({"json": b"[" * 100_000}, "no_record"),
        ({"json": b'{"text": ["", null]}'}, "no_caption"),
        ({"json": json.dumps({"text": "so " * 1700}).encode()}, "caption_too_long"),
        ({"flac": b"fLaC nonsense"}, "undecodable"),
        ({"flac": b"nothing"}, "undecodable"),
        ({"flac": b""}, "undecodable"),
        ({"wav": b"RIFF"}, "several_sounds"),
    ],
)
def test_what_cannot_be_learned_from_has_a_reason(change, reason):
    with pytest.raises(Unusable, match=reason):
        waves().clip({**sample(), **change}, None, draws())


def test_a_sound_without_samples_is_too_short():
    with pytest.raises(Unusable, match="too_short"):
        waves().clip(sample(wave=np.ones(90, dtype=np.float32)), None, draws())


def test_one_of_several_captions_is_drawn_and_a_long_one_never():
    one = sample(["one", "two", "x" * 5000])
    drawn = {waves().clip(one, None, draws(seed)).caption for seed in range(20)}
    assert drawn == {"one", "two"}


def test_the_recipe_s_data_set_goes_before_the_record_s():
    one = sample(dataset="theirs")
    assert waves().clip(one, "ours", None).dataset == "ours"
    assert waves().clip(one, None, None).dataset == "theirs"
    assert waves().clip(sample(), None, None).dataset is None


def test_a_mixture_has_both_sounds_and_both_captions():
    kind = waves(mixing=Mixing(share=1.0, background=0.5, beside_snr_db=(0, 0), background_snr_db=(20, 20)))
    low = WaveClip("a", "A dog barks.", None, tone(300, 1.0))
    high = WaveClip("b", "Rain falls", None, tone(2000, 0.5))
    seen = {}
    for seed in range(20):
        batch = kind.batch([low, high], draws(seed))
        front = int(batch.keys[0] == "a+b")
        assert front == 1
        spectrum = torch.fft.rfft(batch.waves[0, : SECOND // 2]).abs()
        ratio_db = 20 * float(torch.log10(spectrum[150] / spectrum[1000]))
        seen[batch.captions[0]] = ratio_db
    assert set(seen) == {"A dog barks and rain falls", "A dog barks, rain falls in the background"}
    # The high tone sounds for half of the time: its power then is 3 dB over its mean.
    assert seen["A dog barks and rain falls"] == pytest.approx(0, abs=1)
    assert seen["A dog barks, rain falls in the background"] == pytest.approx(20, abs=1)


def test_validation_draws_nothing():
    kind = waves(mixing=Mixing(share=1.0))
    clips = [kind.clip(sample(["one", "two"]), None, None) for _ in range(2)]
    assert kind.batch(clips, None).captions == ["one", "one"]


def test_a_long_sound_is_all_in_its_windows_and_silent_ones_are_left_out():
    wave = np.concatenate([tone(300, 2.0), np.zeros(2 * SECOND, np.float32), tone(900, 1.3)])
    sound = Sound(sample(wave=wave)["flac"])
    heard = list(waves().windows(sound))
    assert [part.size for part in heard] == [SECOND] * len(heard)
    assert 3 <= len(heard) < 6
    assert len(list(waves(filters=Filters(keep_silence=True)).windows(sound))) == 6


def test_which_clips_are_heard_is_drawn_with_the_batch():
    kind = Waves(RATE_HZ, SECOND, level, audio_share=0.5)
    clips = [kind.clip(sample(), None, None)] * 40
    heard = kind.batch(clips, draws(3)).by_ear
    assert heard.dtype == torch.bool
    assert 10 < int(heard.sum()) < 30
    assert torch.equal(heard, kind.batch(clips, draws(3)).by_ear)
    assert not kind.batch(clips, None).by_ear.any()
    assert not waves().batch(clips, draws(3)).by_ear.any()
