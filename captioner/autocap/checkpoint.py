"""AutoCap weights from a file to a network: the published Lightning checkpoint, or what this project trained.

The published file holds BART twice, CLAP whole, and constants of its front end; those names are known and left alone.
Any other name that is too much or missing is an error that lists it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

from captioner.autocap.frontend import front_end
from captioner.autocap.net import REPEATS, AutoCapNet
from captioner.autocap.shape import bart_config, shape_of
from scorer.clap_weights import fill_module
from scorer.htsat import Htsat
from scorer.torch_file import State, read_state
from scorer.weights import CARD_FILE, MODEL_FILE, WeightsError, sha256_of

KIND = "autocap"
#: The file's name in the authors' repository.
PUBLISHED_FILE = "autocap-full.ckpt"
MEL_FILTERS = "encoder.audio_enc.audio_feats_extractor.log_trans.melW"

#: In the published file, not in what captions: CLAP (from its own file), BART a second time, AudioSet's classifier,
#: constants that are worked out anew.
UNUSED = re.compile(
    r"clap_model\..*|special_tokens_embed\.model\..*|special_tokens_embed\.(lm_head\..*|final_logits_bias)"
    r"|encoder\.audio_enc\.(audio_feats_extractor|tscam_conv|head)\..*|audio_clap_resampler\.kernel"
    r"|.*\.(relative_position_index|attn_mask|num_batches_tracked)|audio_Qformer\.bert\.embeddings\.position_ids"
)
#: Tied to BART's word table: left out of a file, they are that table.
TIED = (
    "decoder.model.encoder.embed_tokens.weight",
    "decoder.model.decoder.embed_tokens.weight",
    "decoder.lm_head.weight",
)
WORDS = "decoder.model.shared.weight"


def find_file(model: str) -> Path:
    """The weights behind a name: a file, a folder that holds one, or a repository on the Hub."""
    path = Path(model)
    if path.is_file():
        return path
    if path.is_dir():
        for name in (MODEL_FILE, PUBLISHED_FILE):
            if (path / name).is_file():
                return path / name
        raise WeightsError(f"{model} holds neither {MODEL_FILE} nor {PUBLISHED_FILE}")
    return _from_hub(model)


def _from_hub(model: str) -> Path:
    from transformers.utils import cached_file

    try:
        found = cached_file(model, PUBLISHED_FILE)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"no captioner under {model!r}: give 'embedded', a checkpoint file, a folder that holds {PUBLISHED_FILE} "
            f"or {MODEL_FILE}, or a repository on the Hub that does ({error})"
        ) from error
    return Path(str(found))


def read_weights(path: Path) -> tuple[State, str, dict[str, Any]]:
    """Tensors by published name, the file's SHA-256, and the card beside a file that this project wrote (or {})."""
    if path.suffix != ".safetensors":
        state, sha256 = read_state(path, ("state_dict", "model"))
        return {name.removeprefix("module."): value for name, value in state.items()}, sha256, {}
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        card: dict[str, Any] = json.loads((path.parent / CARD_FILE).read_text())
        state = load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read with its {CARD_FILE}: {error}") from error
    sha256 = sha256_of(path)
    if not isinstance(card, dict):
        raise WeightsError(f"{path.parent / CARD_FILE} is no card: it holds no names with values")
    if card.get("kind") != KIND or card.get("weights_sha256") != sha256:
        raise WeightsError(f"{path} is not the file that its {CARD_FILE} names (kind {KIND!r}, SHA-256 {sha256})")
    return state, sha256, card


def build(state: State, repeats: int = REPEATS) -> AutoCapNet:
    """The network with these weights in float32, ready to caption; WeightsError lists what does not fit."""
    check_filters(state)
    state = {name: value.float() for name, value in state.items() if not UNUSED.fullmatch(name)}
    state |= {name: state[WORDS] for name in TIED if name not in state and WORDS in state}
    shape = shape_of(state)
    with torch.device("meta"):
        net = AutoCapNet(shape, bart_config(state), repeats)
    net.to_empty(device="cpu")
    net.encoder["audio_enc"] = Htsat(shape.tower)  # made anew: it holds constants that no file does
    fill_module(net, state, "AutoCap")
    net.decoder.tie_weights()
    net.eval()
    net.tower.prepare()
    return net


def check_filters(state: State) -> None:
    """WeightsError if the file was made with another front end than this one."""
    filters = state.get(MEL_FILTERS)
    if filters is not None:
        ours = torch.from_numpy(front_end().mel_filters)
        if filters.shape != ours.shape or not torch.allclose(filters.float(), ours, atol=1e-5):
            raise WeightsError("this checkpoint's mel filters are not the published ones (64 bands, 50 Hz to 14 kHz)")
