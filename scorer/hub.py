"""A published CLAP through transformers: any ClapModel with safetensors weights, from a folder or the Hub.

Every clip and text goes through alone on a CPU: the feature extractor draws random numbers for batches, and a
clip's numbers must not depend on its neighbours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as fn

from scorer.windows import check, pool, windows

#: The paper's cuts, made for LAION's CLAP.
PUBLISHED_THRESHOLDS = {"AutoReCapXL": 0.1, "MQ": 0.4, "HQ": 0.5}


class HubScorer:
    """See scorer.load.Scorer."""

    def __init__(self, model: str, device: str = "cpu") -> None:
        from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

        try:
            self._model: Any = ClapModel.from_pretrained(model, use_safetensors=True).eval().to(device)
            self._extract: Any = ClapFeatureExtractor.from_pretrained(model)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"no CLAP under {model!r}: give 'embedded', a folder with card.json, or a transformers ClapModel "
                f"(folder or Hub name) with safetensors weights, feature extractor and tokenizer ({error})"
            ) from error
        self.model_id = Path(model).name if Path(model).is_dir() else model
        self.weights_sha256 = hash_weights(model)
        self.device = device
        self.sample_rate_hz = int(self._extract.sampling_rate)
        self.window_s = float(self._extract.max_length_s)
        self.embedding_dim = int(self._model.config.projection_dim)
        self.preset_thresholds: Mapping[str, float] = dict(PUBLISHED_THRESHOLDS)

    @torch.inference_mode()
    def embed_audio(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        return self._stack([pool([self._window(part) for part in self._parts(wave)]) for wave in waves])

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        rows = []
        for text in texts:
            tokens = self._tokenizer(text, truncation=True, max_length=77, return_tensors="pt").to(self.device)
            rows.append(unit(self._model.get_text_features(**tokens)))
        return self._stack(rows)

    def _stack(self, rows: list[np.ndarray]) -> np.ndarray:
        return np.stack(rows) if rows else np.zeros((0, self.embedding_dim), dtype=np.float32)

    def _parts(self, wave: np.ndarray) -> list[np.ndarray]:
        return windows(check(wave), int(self.window_s * self.sample_rate_hz), repeat=False)

    def _window(self, wave: np.ndarray) -> np.ndarray:
        features = self._extract(wave, sampling_rate=self.sample_rate_hz, return_tensors="pt").to(self.device)
        return unit(self._model.get_audio_features(**features))


def unit(features: Any) -> np.ndarray:
    """(1, D) features, which newer transformers wrap in an output object, as one unit vector."""
    tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    return np.asarray(fn.normalize(tensor.float(), dim=-1)[0].cpu().numpy(), dtype=np.float32)


def hash_weights(model: str) -> str:
    """SHA-256 over the model's safetensors files, in name order."""
    from transformers.utils import cached_file

    folder = Path(model)
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        files = [Path(cached_file(model, "model.safetensors"))]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as data:
            digest.update(hashlib.file_digest(data, "sha256").digest() if len(files) > 1 else data.read())
    return digest.hexdigest()
