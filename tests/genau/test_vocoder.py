"""HiFi-GAN against the reference, before and after weight norm is folded."""

import numpy as np
import pytest
import torch

from genau import vocoder_cpu
from genau.vocoder import Vocoder, VocoderShape, fold_weight_norm, shape_of
from tests.genau_fill import fill, golden, mel, shapes, state


def published_form(net):
    """Weight norm's two factors for each weight, as files of vocoders hold them."""
    found = {}
    for name, value in net.state_dict().items():
        if not name.endswith(".weight"):
            found[name] = fill(name, tuple(value.shape))
            continue
        found[f"{name}_g"] = fill(f"{name}_g", (len(value), *[1] * (value.ndim - 1)))
        found[f"{name}_v"] = fill(f"{name}_v", tuple(value.shape))
    return found


def compare(name, weights):
    folded = fold_weight_norm(weights)
    net = Vocoder(shape_of(folded)).eval()
    net.load_state_dict(folded)
    with torch.no_grad():
        sound = net(mel(32))
        direct = net.direct(mel(32))
    assert sound.shape == direct.shape == (1, 160 * 32 + 32)
    for wave in (sound, direct):
        np.testing.assert_allclose(wave.numpy(), golden(name)["wave"][:, 0], atol=1e-4)


def test_the_small_one_sounds_as_the_reference():
    compare("vocoder_small", published_form(Vocoder(VocoderShape(width=64))))


def test_the_published_size_from_a_compiled_models_names():
    weights = state("vocoder", skipped=())
    compare("vocoder", {f"_orig_mod.{name}" if "ups" in name else name: value for name, value in weights.items()})


def test_a_fused_layout_is_the_default_shape():
    with torch.device("meta"):
        net = Vocoder()
    assert {key: list(value.shape) for key, value in net.state_dict().items()} == shapes("vocoder_fused")


def test_a_clip_in_pieces_and_whole_is_one_sound_and_a_batch_its_clips(monkeypatch):
    torch.manual_seed(0)
    net, mels = Vocoder(VocoderShape(width=64)).eval(), torch.randn(2, 64, 20)
    direct = net.direct(mels).detach()
    for piece, wide in ((6000, 1024), (70, 1)):
        monkeypatch.setattr(vocoder_cpu, "PIECE", piece)
        monkeypatch.setattr(vocoder_cpu, "WIDE", wide)
        with torch.no_grad():
            torch.testing.assert_close(net(mels), direct, atol=1e-6, rtol=0)


def test_gradients_reach_every_weight_on_a_cpu():
    net = Vocoder(VocoderShape(width=64))
    net(torch.randn(1, 64, 4)).square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in net.parameters())


@pytest.mark.parametrize("key", ["conv_pre.weight", "ups.0.weight"])
def test_folding_gives_the_stated_length(key):
    weights = published_form(Vocoder(VocoderShape(width=64)))
    folded = fold_weight_norm(weights)[key]
    torch.testing.assert_close(folded.flatten(1).norm(dim=1), weights[f"{key}_g"].flatten())
