"""The VAE's losses against the reference, every term; weights of LPIPS from a local file."""

import numpy as np
import pytest
import torch

from genau.vae import Vae, shape_of
from genau.vae_losses import LossWeights, Lpips, VaeLosses, image, read_lpips
from scorer.weights import WeightsError
from tests.genau_fill import fill, golden, mel, state


@pytest.fixture(scope="module")
def losses():
    made = VaeLosses(LossWeights(disc_start=50_001), Lpips())
    made.load_state_dict(
        {
            name: value if value.ndim == 0 or "scaling_layer" in name else fill(f"loss.{name}", tuple(value.shape))
            for name, value in made.state_dict().items()
        }
    )
    return made.eval()


@pytest.fixture(scope="module")
def seen():
    weights = state("vae_small")
    net = Vae(shape_of(weights)).eval()
    net.load_state_dict(weights)
    wanted = torch.cat([mel(64), mel(64) + 0.5])
    posterior = net.encode(wanted)
    return wanted, net.decode(posterior.mean), posterior.kl(), net.decoder.conv_out.weight


def told(terms):
    return {name: float(value) for name, value in terms.parts.items()} | {"total": float(terms.total.detach())}


def test_perception_and_logits_are_the_references(losses, seen):
    found, (wanted, again, kl_B, _) = golden("vae_losses_small"), seen
    with torch.no_grad():
        np.testing.assert_allclose(image(again)[:, :, :4].numpy(), found["rec_head"], atol=1e-5)
        np.testing.assert_allclose(kl_B.numpy(), found["kl_per_item"], rtol=1e-4)
        np.testing.assert_allclose(
            losses.perceptual_loss(image(wanted), image(again)).numpy(), found["lpips"].ravel(), atol=1e-6
        )
        np.testing.assert_allclose(losses.discriminator(image(wanted)).numpy(), found["disc_logits_real"], atol=1e-5)


def test_every_term_before_and_after_the_discriminator_counts(losses, seen):
    found, (wanted, again, kl_B, last) = golden("vae_losses_small"), seen
    for step in (0, 60_000):
        ours = told(losses.generator(wanted, again, kl_B, last, step=step))
        names = {"total": "total_loss", "rec": "rec_loss", "nll": "nll_loss", "kl": "kl_loss"}
        names |= {"g": "g_loss", "d_weight": "d_weight"} if step else {}
        for name, theirs in names.items():
            key = f"step{step}_opt0_train_{theirs}"
            assert ours[name] == pytest.approx(float(found[key]), rel=1e-4), key
        ours = told(losses.discriminator_terms(wanted, again, step=step))
        for name, theirs in {"total": "disc_loss", "logits_real": "logits_real", "logits_fake": "logits_fake"}.items():
            key = f"step{step}_opt1_train_{theirs}"
            assert ours[name] == pytest.approx(float(found[key]), rel=1e-4, abs=1e-6), key


def test_the_penalty_of_r1_reaches_the_discriminators_weights(losses, seen):
    wanted, again, _, _ = seen
    weights = LossWeights(disc_start=0, r1=10.0)
    strict = VaeLosses(weights)
    strict.load_state_dict({k: v for k, v in losses.state_dict().items() if not k.startswith("perceptual_loss")})
    plain, held = (made.eval().discriminator_terms(wanted, again, step=60_000).total for made in (losses, strict))
    assert held > plain
    held.backward()
    assert all(p.grad is not None for p in strict.discriminator.parameters())


def test_lpips_is_read_from_a_published_vae_or_from_torchvisions_and_lpips_own_files(losses, tmp_path):
    own = losses.perceptual_loss.state_dict()
    torch.save({"state_dict": {f"loss.perceptual_loss.{k}": v for k, v in own.items()}}, tmp_path / "vae.ckpt")
    vgg = {f"features.{k.split('.', 2)[2]}": v for k, v in own.items() if k.startswith("net.")}
    torch.save(vgg, tmp_path / "vgg16.pth")
    torch.save({k: v for k, v in own.items() if k.startswith("lin")}, tmp_path / "vgg.pth")
    for files in (["vae.ckpt"], ["vgg16.pth", "vgg.pth"]):
        read = read_lpips(tmp_path / name for name in files).state_dict()
        assert all(torch.equal(read[name], value) for name, value in own.items())
    with pytest.raises(WeightsError, match=r"lin0.model.1.weight.* \(5 in all\)"):
        read_lpips([tmp_path / "vgg16.pth"])
