"""A log-mel spectrogram as a picture, for what validation shows."""

from __future__ import annotations

import numpy as np

#: Of the natural logarithm: what is black, and what is as bright as it gets.
DARK, BRIGHT = -9.0, 1.0
HEIGHT = 4  # pixels of a mel band


def picture(mel_FT: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: time to the right, low bands below."""
    from matplotlib import colormaps

    shade = np.clip((np.asarray(mel_FT, dtype=np.float32)[::-1] - DARK) / (BRIGHT - DARK), 0, 1)
    coloured = (colormaps["magma"](shade)[..., :3] * 255).astype(np.uint8)
    return np.repeat(coloured, HEIGHT, axis=0)
