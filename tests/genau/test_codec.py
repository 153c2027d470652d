"""The embedded VAE and Griffin-Lim on real recordings: what comes back is what went in, as far as they can."""

from pathlib import Path

import numpy as np
import pytest
import torch

from audio.codec import decode_bytes
from audio.resample import resample
from genau.card import VaeCard, read_folder
from genau.codec import WEIGHTS, load_codec
from genau.griffin_lim import GriffinLim
from genau.mel import LogMel, levelled
from scorer import load_scorer
from scorer.weights import WeightsError
from tests.genau_fill import wave

MEDIA = Path(__file__).parents[2] / "examples" / "demo" / "folder"
SOUNDS = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a"}


@pytest.fixture(scope="module")
def recordings():
    """(4, 40960): what GenAU hears of the demo's recordings, their first 2.56 s."""
    heard = []
    for path in sorted(path for path in MEDIA.rglob("*") if path.suffix in (".wav", ".flac", ".ogg", ".opus", ".mp3"))[
        :4
    ]:
        samples, rate_hz = decode_bytes(path.read_bytes())
        clip = levelled(resample(samples, rate_hz, 16_000)[:40_960])
        heard.append(np.pad(clip, (0, 40_960 - clip.size)))
    assert heard
    return torch.from_numpy(np.stack(heard))


@pytest.fixture(scope="module")
def codec():
    return load_codec("embedded")


def test_recordings_come_back(codec, recordings):
    mel = codec.mel(recordings)
    with torch.no_grad():
        posterior = codec.encode(recordings)
        again = codec.decode(posterior.mean)
    assert posterior.mean.shape == (len(recordings), 16, 64)
    error = (again - mel).abs().mean()
    assert error < 0.7 * (mel - mel.mean(dim=(0, 2), keepdim=True)).abs().mean()
    latents = posterior.sample()
    assert 0.5 < float(latents.std()) < 1.6  # of variance 1 over the training's scenes
    sound = codec.to_wave(posterior.mean)
    assert sound.shape == recordings.shape
    heard = codec.mel(sound)
    assert (heard - again).abs().mean() < error + 0.5


def test_the_card_says_how_good_it_is_on_packages_it_never_heard():
    card, state = read_folder(WEIGHTS, VaeCard)
    assert sum(value.numel() * 4 for value in state.values()) < 50_000
    for found in card.measured.values():
        assert found["mean_absolute_error_nats"] < 0.15 * found["of_the_mean_spectrum_nats"]


def test_clap_hears_the_same_sound_behind_it(codec, recordings):
    scorer = load_scorer("embedded")
    before = scorer.embed_audio(list(recordings.numpy()))
    after = scorer.embed_audio(list(codec.to_wave(codec.encode(recordings).mean).numpy()))
    same = (before * after).sum(axis=1)  # a VAE that blurs makes 0.2 of them
    assert np.median(same) > 0.8


def test_griffin_lim_finds_a_wave_of_the_same_spectrogram():
    true = torch.from_numpy(levelled(wave()))[None]
    log_mel = LogMel()
    mel = log_mel(true).transpose(1, 2)
    found = GriffinLim(rounds=8)(torch.cat([mel, mel - 3]))
    assert found.shape == (2, 80_000)
    again = log_mel(found[:1]).transpose(1, 2)
    assert (again - mel).abs().mean() < 0.2
    alone = GriffinLim(rounds=8)(mel - 3)
    torch.testing.assert_close(found[1:], alone)  # no clip depends on the others
    assert not GriffinLim(rounds=2)(torch.full((1, 64, 20), -11.5)).abs().gt(1e-2).any()


def test_a_folder_that_is_none_is_told(tmp_path):
    with pytest.raises(WeightsError, match=r"no card\.json"):
        load_codec(str(tmp_path))


def test_a_training_s_autocast_changes_nothing(codec):
    sound = torch.sin(torch.arange(6400) / 9)[None]
    latent = codec.encode(sound).mean
    heard = codec.to_wave(latent)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(codec.encode(sound).mean, latent)
        assert torch.equal(codec.to_wave(latent), heard)
