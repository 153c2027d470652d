"""A small model's folder: model.safetensors (fp16), tokenizer.json, card.json. Written once, read with checks.

The card names the SHA-256 of both other files: a damaged or exchanged file is refused before it is used.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import nn

MODEL_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "card.json"


class WeightsError(ValueError):
    """A model folder that is not what its card says."""


def save_folder(folder: Path, module: nn.Module, tokenizer: Any, card: dict[str, Any]) -> dict[str, Any]:
    """Writes the three files; returns the card with the hashes in it."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in module.state_dict().items()
    }
    save_file(state, folder / MODEL_FILE)
    (folder / MODEL_FILE).chmod(0o644)  # safetensors writes for the owner only
    tokenizer.save(str(folder / TOKENIZER_FILE))
    card = card | {
        "weights_sha256": sha256_of(folder / MODEL_FILE),
        "tokenizer_sha256": sha256_of(folder / TOKENIZER_FILE),
    }
    (folder / CARD_FILE).write_text(json.dumps(card, indent=2) + "\n")
    return card


def read_card(folder: Path, kind: str) -> dict[str, Any]:
    """The card of a folder of this kind, its files checked against their hashes."""
    try:
        card: dict[str, Any] = json.loads((folder / CARD_FILE).read_text())
    except FileNotFoundError:
        raise WeightsError(f"{folder} has no {CARD_FILE}: not a model folder of this project") from None
    except json.JSONDecodeError as error:
        raise WeightsError(f"{folder / CARD_FILE} is not JSON: {error}") from error
    if card.get("kind") != kind:
        raise WeightsError(f"{folder} holds a model of kind {card.get('kind')!r}, wanted {kind!r}")
    for file, key in ((MODEL_FILE, "weights_sha256"), (TOKENIZER_FILE, "tokenizer_sha256")):
        if not (folder / file).is_file():
            raise WeightsError(f"{folder} has no {file}")
        found = sha256_of(folder / file)
        if found != card.get(key):
            raise WeightsError(f"{folder / file} has SHA-256 {found}, its card says {card.get(key)}")
    return card


def fill(module: nn.Module, folder: Path) -> None:
    """Loads the folder's weights into `module`; every tensor by name, every shape as it must be."""
    from safetensors.torch import load_file

    state = load_file(folder / MODEL_FILE)
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    faults = [f"{name} is missing" for name in wanted if name not in state]
    faults += [f"{name} is not a tensor of this model" for name in state if name not in wanted]
    faults += [
        f"{name} has shape {tuple(value.shape)}, wanted {wanted[name]}"
        for name, value in state.items()
        if name in wanted and tuple(value.shape) != wanted[name]
    ]
    if faults:
        raise WeightsError(f"{folder / MODEL_FILE} does not fit: " + "; ".join(faults[:8]))
    module.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
