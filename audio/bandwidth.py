"""Where a sound's content ends: telephone recordings at 48 kHz are still telephone recordings.

    bandwidth_hz(wave, 48_000)     # 3_950 for an 8 kHz recording that somebody resampled

The rule is a spectral roll-off with an absolute foot: the bandwidth is the frequency above which all that is left,
taken together, is no louder than `FLOOR_DBFS` or `RANGE_DB` under the whole. The foot is the noise that rounding to 16
bits makes (white, LSB² / 12 or -101.1 dBFS; -96.3 with triangular dither: Lipshitz, Wannamaker and Vanderkooy, 1992),
with some room. So a resampler's stop band, a codec's empty bands and rounding do not count as content, while faint
hiss does. A sum over all that lies above is what makes the rule safe for quiet tones, whose rounding noise is not
white but made of lines. (Rules with a single relative threshold, such as the -50 dB of Hi-Fi TTS, are made for speech:
they take the thump in front of a hiss for a narrow band.)

The spectrum is Welch's (1967), of `BLOCK_S` at a time; the loudest answer of all blocks counts, so that one bark in
ten seconds of hum is heard.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from audio.mixdown import Wave

FLOOR_DBFS = -91.0
RANGE_DB = 80.0
#: One spectrum's worth of sound.
BLOCK_S = 1.0
#: Distance of the spectrum's lines. The answer is no finer, and a loud tone reaches 300 Hz beyond itself (the window).
LINE_HZ = 50
#: A wave of fewer samples has no spectrum worth the name.
MIN_FRAME = 32


def bandwidth_hz(wave: Wave, sample_rate_hz: int) -> int:
    """Where the content of a mono wave ends, in hertz; 0 where there is none."""
    size = min(sample_rate_hz // LINE_HZ, wave.size) // 2 * 2
    if size < MIN_FRAME:
        return 0
    powers = _block_spectra(wave, size, max(round(BLOCK_S * sample_rate_hz / (size // 2)), 1))
    above = np.cumsum(powers[:, ::-1], axis=1)[:, ::-1]  # of each line and all higher ones
    floor = np.maximum(10 ** (FLOOR_DBFS / 10), above[:, :1] * 10 ** (-RANGE_DB / 10))
    lines = int((above > floor).sum(axis=1).max())  # `above` falls with frequency: those over the floor come first
    return round(float(lines / powers.shape[1] * sample_rate_hz / 2))


def _block_spectra(wave: Wave, size: int, frames_per_block: int) -> npt.NDArray[np.float64]:
    """(blocks, lines) mean square of the wave by frequency, in each block: a full-scale square wave sums to 1.

    Frames lie within the wave, the last one at its very end: what is cut off mid-wave must not look like a click.
    """
    window = np.blackman(size + 1)[:size].astype(np.float32)
    starts = np.unique(np.append(np.arange(0, wave.size - size + 1, size // 2), wave.size - size))
    frames = np.lib.stride_tricks.sliding_window_view(wave, size)[starts]
    powers = np.square(np.abs(np.fft.rfft(frames * window, axis=1)[:, 1:]))
    powers *= 2 / (size * float(np.square(window, dtype=np.float64).sum()))
    powers[:, -1] /= 2
    blocks = np.arange(0, len(powers), frames_per_block)
    sums: npt.NDArray[np.float64] = np.add.reduceat(powers, blocks, axis=0)
    return sums / np.diff(blocks, append=len(powers))[:, None]
