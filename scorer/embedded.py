"""The small CLAP that comes with the project, behind the scorer's face.

On a CPU windows and texts go through one by one, on a GPU in batches of one fixed size filled up with zeros:
either way a clip's numbers cannot depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from scorer.features import SAMPLE_RATE_HZ, WINDOW_SAMPLES, LogMel
from scorer.model import DIM, MAX_TEXT_TOKENS, TOKEN_DIM, TOKENS, SmallClap
from scorer.tokens import encode, load_tokenizer
from scorer.weights import TOKENIZER_FILE, fill, read_card
from scorer.windows import check, level, pool, windows

KIND = "autorecap-small-clap"
GPU_BATCH = 64
#: A clip under a second is heard once a second: AUC on wesnoth and 7kaa .826 instead of .796 end to end, and no better
#: with rarer repetition. (gcompris, the set for the figures of the card, was not looked at to choose.)
PERIOD_SAMPLES = SAMPLE_RATE_HZ
Item = TypeVar("Item")


class EmbeddedScorer:
    """See scorer.load.Scorer; `hear` gives the captioner the audio tower's tokens too."""

    sample_rate_hz = SAMPLE_RATE_HZ
    window_s = WINDOW_SAMPLES / SAMPLE_RATE_HZ
    embedding_dim = DIM

    def __init__(self, folder: Path, device: str = "cpu", batch: int | None = None) -> None:
        card = read_card(folder, KIND)
        self.model_id = str(card["model_id"])
        self.weights_sha256 = str(card["weights_sha256"])
        self.preset_thresholds: Mapping[str, float] = dict(card["preset_thresholds"])
        self.device = device
        self._batch = batch or (1 if device == "cpu" else GPU_BATCH)
        self._tokenizer = load_tokenizer(folder / TOKENIZER_FILE)
        net = SmallClap(self._tokenizer.get_vocab_size())
        fill(net, folder)
        self._net = net.eval().to(device)
        self._log_mel = LogMel().to(device)

    def embed_audio(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        per_clip = [parts_of(wave) for wave in waves]
        flat = self.hear_windows([part for parts in per_clip for part in parts])[1]
        out, at = np.zeros((len(waves), DIM), dtype=np.float32), 0
        for row, parts in enumerate(per_clip):
            out[row] = pool(list(flat[at : at + len(parts)]))
            at += len(parts)
        return out

    def hear(self, waves: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Each clip's first window: its tokens (B, K, 512) and its embedding (B, D)."""
        return self.hear_windows([parts_of(wave)[0] for wave in waves])

    @torch.inference_mode()
    def hear_windows(self, parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        tokens = np.zeros((len(parts), TOKENS, TOKEN_DIM), dtype=np.float32)
        embeddings = np.zeros((len(parts), DIM), dtype=np.float32)
        for first, chunk in in_chunks(parts, self._batch):
            wave = torch.zeros(self._batch, WINDOW_SAMPLES)
            wave[: len(chunk)] = torch.from_numpy(np.stack(chunk))
            heard = self._net.audio(self._log_mel(wave.to(self.device)))
            here = slice(first, first + len(chunk))
            tokens[here] = heard.tokens[: len(chunk)].float().cpu().numpy()
            embeddings[here] = self._net.embed_heard(heard)[: len(chunk)].float().cpu().numpy()
        return tokens, embeddings

    def class_head(self) -> dict[str, torch.Tensor]:
        """Weight (521, 512) and bias of the layer that reads AudioSet classes from the mean of a patch's tokens."""
        return self._net.audio.classify.state_dict()

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        out = np.zeros((len(texts), DIM), dtype=np.float32)
        for first, chunk in in_chunks(texts, self._batch):
            ids = encode(self._tokenizer, chunk, MAX_TEXT_TOKENS)
            if self._batch > 1:
                room = (0, MAX_TEXT_TOKENS - ids.shape[1], 0, self._batch - len(chunk))
                ids = torch.nn.functional.pad(ids, room)
            vectors = self._net.embed_text(ids.to(self.device))
            out[first : first + len(chunk)] = vectors[: len(chunk)].float().cpu().numpy()
        return out


def parts_of(wave: np.ndarray) -> list[np.ndarray]:
    """A clip as the tower hears it: at one level, in windows of 10 s, a short one repeated."""
    return windows(level(check(wave)), WINDOW_SAMPLES, period=PERIOD_SAMPLES)


def in_chunks(items: Sequence[Item], size: int) -> Iterator[tuple[int, list[Item]]]:
    for first in range(0, len(items), size):
        yield first, list(items[first : first + size])
