"""AutoCap's weights as a folder that load_captioner reads: model.safetensors, card.json and the tokenizer's files.

In float32 under the published names; what is tied to BART's word table is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from captioner.autocap.checkpoint import KIND, TIED, UNUSED
from captioner.autocap.net import AutoCapNet
from scorer.weights import CARD_FILE, MODEL_FILE, sha256_of


def write_model(folder: Path, net: AutoCapNet, tokenizer: Any, card: Mapping[str, Any]) -> None:
    state = {
        name: value.detach().cpu().contiguous()
        for name, value in net.state_dict().items()
        if name not in TIED and not UNUSED.fullmatch(name)
    }
    save_file(state, folder / MODEL_FILE)
    (folder / MODEL_FILE).chmod(0o644)  # safetensors writes for the owner only
    tokenizer.save_pretrained(folder)
    full = {"kind": KIND, **card, "weights_sha256": sha256_of(folder / MODEL_FILE)}
    (folder / CARD_FILE).write_text(json.dumps(full, indent=2) + "\n")
