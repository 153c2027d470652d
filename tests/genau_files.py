"""Files as the reference writes them, at small sizes, with the formula weights of tests/genau_fill.py."""

import torch

from genau.checkpoint import EMA, FIT, VAE, VOCODER, dotless_name
from genau.diffusion import Schedule
from genau.vocoder import Vocoder, VocoderShape
from tests.genau_fill import fill, state

#: What shapes cannot tell of parity's small FIT.
SIZES = {"patch": 1, "group": 16, "head_width": 32}


def prefixed(prefix, tensors):
    return {prefix + name: value for name, value in tensors.items()}


def vocoder_factors(width=64):
    """Weight norm's two factors for each weight, as files of vocoders hold them."""
    found = {}
    for name, value in Vocoder(VocoderShape(width=width)).state_dict().items():
        if name.endswith(".weight"):
            found[f"{name}_g"] = fill(f"{name}_g", (len(value), *[1] * (value.ndim - 1)))
            found[f"{name}_v"] = fill(f"{name}_v", tuple(value.shape))
        else:
            found[name] = fill(name, tuple(value.shape))
    return found


def vae_state(vocoder=None):
    """As the VAE's file has it, its losses (a few of them) and its vocoder included."""
    own = state("vae_small")
    return {
        **own,
        "loss.logvar": torch.zeros(()),
        "loss.discriminator.main.0.weight": torch.zeros(64, 1, 4, 4),
        **prefixed(VOCODER, vocoder or {}),
    }


def ema_of(fit):
    """Averaged weights twice the raw ones; constants (beta) are not averaged."""
    named = {EMA + dotless_name(name): 2 * value for name, value in fit.items() if not name.endswith(".beta")}
    return {**named, "model_ema.decay": torch.tensor(0.999), "model_ema.num_updates": torch.tensor(7)}


def genau_state(fit=None, *, ema=False, vae=None, scale_factor=1.25):
    """`state_dict` of a published GenAU file."""
    fit = state("fit_small") if fit is None else fit
    alphas = Schedule().alphas_cumprod
    return {
        **prefixed(FIT, fit),
        **(ema_of(fit) if ema else {}),
        **prefixed(VAE, vae or {}),
        "cond_stage_models.0.model.text_branch.embeddings.position_ids": torch.zeros(1, 5, dtype=torch.long),
        "cond_stage_models.1.model.shared.weight": torch.zeros(4, 4),
        "clap.model.logit_scale_a": torch.zeros(()),
        "logvar": torch.zeros(1000),
        "alphas_cumprod": alphas,
        "alphas_cumprod_prev": alphas.roll(1),
        "sqrt_alphas_cumprod": alphas.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - alphas).sqrt(),
        "scale_factor": torch.tensor(scale_factor),
    }


def lightning(path, tensors):
    torch.save({"epoch": 3, "global_step": 210_000, "state_dict": tensors, "loops": {}}, path)
    return path
