"""A wave as a picture: power over time and frequency, in decibels below its loudest point."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch

FFT, HOP = 1024, 256
RANGE_DB = 80.0


def spectrogram_db(wave: np.ndarray) -> np.ndarray:
    """(N,) -> (513, frames) float32, 0 at the loudest, -80 at least."""
    padded = torch.from_numpy(np.pad(np.asarray(wave, dtype=np.float32), (0, max(FFT - wave.size, 0))))
    power = torch.stft(padded, FFT, HOP, window=torch.hann_window(FFT), return_complex=True).abs().square()
    level = 10 * torch.log10(power.clamp(min=1e-12) / power.max().clamp(min=1e-12))
    return np.asarray(level.clamp(min=-RANGE_DB).numpy(), dtype=np.float32)


def figure(wave: np.ndarray, sample_rate_hz: int, title: str = "") -> Any:
    """matplotlib's Figure, 8 by 3 inches."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(8, 3), layout="constrained")
    axes = drawn.add_subplot()
    extent = (0.0, wave.size / sample_rate_hz, 0.0, sample_rate_hz / 2000)
    picture = axes.imshow(spectrogram_db(wave), origin="lower", aspect="auto", extent=extent, cmap="magma")
    axes.set(xlabel="seconds", ylabel="kHz")
    # matplotlib's own font knows no more than this.
    plain = "".join(c if c.isprintable() else " " for c in title[:90])
    shown = plain.encode("latin-1", "replace").decode("latin-1")
    axes.set_title(shown, parse_math=False, fontsize="small")
    drawn.colorbar(picture, ax=axes, label="dB")
    return drawn


def png(wave: np.ndarray, sample_rate_hz: int, title: str = "") -> bytes:
    written = io.BytesIO()
    figure(wave, sample_rate_hz, title).savefig(written, format="png", dpi=100)
    return written.getvalue()
