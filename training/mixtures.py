"""Two clips as one, with a caption for both: what training on sounds adds to what was recorded."""

from __future__ import annotations

import numpy as np

#: Below this a clip is silence: nothing to set a level against.
SILENT_RMS = 1e-5


def mix(front: np.ndarray, back: np.ndarray, snr_db: float) -> np.ndarray:
    """`front` with `back` under it, `snr_db` softer by their mean powers; as long as the longer one, peak at most 1.

    Float32 mono waves of one rate. A clip of silence is added as it is.
    """
    front_rms, back_rms = _rms(front), _rms(back)
    gain = front_rms / back_rms / 10 ** (snr_db / 20) if min(front_rms, back_rms) > SILENT_RMS else 1.0
    out = np.zeros(max(front.size, back.size), dtype=np.float32)
    out[: front.size] += front
    out[: back.size] += np.float32(gain) * back
    peak = float(np.abs(out).max(initial=0.0))
    return out / np.float32(peak) if peak > 1 else out


def _rms(wave: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) if wave.size else 0.0


def joined(front: str, back: str, *, background: bool) -> str:
    """The caption of a mixture: 'A dog barks and rain falls', 'A dog barks, rain falls in the background'."""
    first, second = front.strip().rstrip(".!?,; "), back.strip().rstrip(".!?,; ")
    second = second[:1].lower() + second[1:]
    if not first or not second:
        return first or second
    return f"{first}, {second} in the background" if background else f"{first} and {second}"
