"""LAION's own laion-clap package behind the scorer's face: the reference that the other ways are compared with.

Its pins (numpy < 2, and through that pyarrow < 26) clash with this project's, so it lives in an environment of its
own: `make laion-env` makes one, and a pool of the recipe names its Python (docs/scoring.md). Inside the process
nothing else differs. It is slower than this project's own reading of the same file; use that for a corpus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scorer.clap_weights import read_laion
from scorer.load import PUBLISHED_THRESHOLDS, ClapOptions, ScorerError
from scorer.windows import check, pool, windows

#: Width of the audio tower -> LAION's name for it.
TOWERS = {96: "HTSAT-tiny", 128: "HTSAT-base", 256: "HTSAT-large"}


class LaionPackageScorer:
    """See scorer.load.Scorer. Clips over 10 s are heard in even windows: the package alone would crop at random."""

    sample_rate_hz = 48_000
    window_s = 10.0
    embedding_dim = 512

    def __init__(self, path: Path, device: str, options: ClapOptions) -> None:
        if options.changed():
            raise ScorerError(f"laion-clap runs as released; these options are not its own: {options.changed()}")
        package = laion_clap()
        weights, self.weights_sha256 = read_laion(path)
        tower = TOWERS.get(weights.shape.width)
        if tower is None:
            raise ScorerError(f"{path}: laion-clap has no audio tower of width {weights.shape.width}")
        self.model_id = f"{path.stem}+laion-clap"
        self.preset_thresholds: Mapping[str, float] = dict(PUBLISHED_THRESHOLDS)
        self._module = package.CLAP_Module(enable_fusion=weights.shape.fusion, amodel=tower, device=device)
        self._module.load_ckpt(str(path), verbose=False)

    def embed_audio(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        size = int(self.window_s * self.sample_rate_hz)
        return self._stack([pool([self._one(p) for p in windows(check(w), size, repeat=False)]) for w in waves])

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        # one text alone loses its batch axis in the package's tokenizer: give it two
        return self._stack([self._module.get_text_embedding([text, text])[0] for text in texts])

    def _one(self, wave: np.ndarray) -> np.ndarray:
        return np.asarray(self._module.get_audio_embedding_from_data(wave[None])[0], dtype=np.float32)

    def _stack(self, rows: list[np.ndarray]) -> np.ndarray:
        return np.stack(rows).astype(np.float32) if rows else np.zeros((0, self.embedding_dim), dtype=np.float32)


def laion_clap() -> Any:
    """The package, or a ScorerError that says how to get it."""
    try:
        import laion_clap as package
    except ImportError as error:
        raise ScorerError(
            f"laion-clap cannot be imported here ({error}): `make laion-env` makes an environment for it, and the "
            "recipe's pool must name that one's Python (execution.pools.<name>.python); or drop the prefix laion-clap:"
        ) from error
    return package
