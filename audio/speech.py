"""Hear speech in a wave: where, and how much of it.

    detector = SpeechDetector()
    detector.speech_ms(wave_16k)      # [(320, 1890), (2400, 4310)]
    detector.speech_ratio(wave_16k)   # 0.71

The model is silero-vad's (MIT), run by onnxruntime. Its package is found but never imported: that would load torch.
It looks at windows of 32 ms, each with the last 4 ms of the window before, and carries an LSTM's state along. The
package's newer releases hold the model a second time, exported over a whole sequence of windows: the same
probabilities at twice the speed, one call a clip. Without that file the streaming model is called window by window.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audio.mixdown import Wave

SAMPLE_RATE_HZ = 16_000
WINDOW = 512
CONTEXT = 64
#: Windows per call: bounds memory on long waves.
_BLOCK = 4096
_STATE = 128

#: Speech starts where the probability reaches this...
SPEECH_STARTS = 0.5
#: ... and ends where it falls below this.
SPEECH_ENDS = 0.35
#: Shorter speech is a cough or a click.
SPEECH_MIN_MS = 250
#: A shorter pause does not end speech.
PAUSE_MIN_MS = 100
#: Added at both ends of what was heard.
PAD_MS = 30


class SpeechDetector:
    """The voice detector's weights, loaded once. Not shared between threads."""

    def __init__(self, threads: int = 1) -> None:
        folder = _model_folder()
        self._sequence = (folder / "silero_vad_16k_sequence.onnx").is_file()
        name = "silero_vad_16k_sequence.onnx" if self._sequence else "silero_vad.onnx"
        self._session = _session(folder / name, threads)

    def speech_ms(self, wave_16k: Wave) -> list[tuple[int, int]]:
        """Spans of speech, in order, in milliseconds from the wave's start."""
        duration_ms = wave_16k.size * 1000 // SAMPLE_RATE_HZ
        return spans_ms(self.probabilities(wave_16k), duration_ms)

    def speech_ratio(self, wave_16k: Wave) -> float:
        """Share of the wave that is speech, from 0 to 1."""
        if wave_16k.size == 0:
            return 0.0
        heard = sum(end - start for start, end in self.speech_ms(wave_16k))
        return min(heard * SAMPLE_RATE_HZ / 1000 / wave_16k.size, 1.0)

    def probabilities(self, wave_16k: Wave) -> npt.NDArray[np.float32]:
        """How likely each window of 32 ms is speech; the last window is filled up with silence."""
        windows = _windows(wave_16k)
        run = self._run_sequence if self._sequence else self._run_stream
        return run(windows) if len(windows) else np.zeros(0, np.float32)

    def _run_sequence(self, windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        hidden = cell = np.zeros((1, 1, _STATE), np.float32)
        heard = []
        for start in range(0, len(windows), _BLOCK):
            feed = {"input": windows[start : start + _BLOCK], "h": hidden, "c": cell}
            block, hidden, cell = self._session.run(["speech_probs", "hn", "cn"], feed)
            heard.append(block.reshape(-1))
        return np.concatenate(heard)

    def _run_stream(self, windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        state = np.zeros((2, 1, _STATE), np.float32)
        rate = np.array(SAMPLE_RATE_HZ, np.int64)
        heard = np.empty(len(windows), np.float32)
        for at, window in enumerate(windows):
            feed = {"input": window[None], "state": state, "sr": rate}
            probability, state = self._session.run(["output", "stateN"], feed)
            heard[at] = probability[0, 0]
        return heard


def spans_ms(probabilities: npt.NDArray[np.float32], duration_ms: int) -> list[tuple[int, int]]:
    """Spans of speech out of one probability per window."""
    window_ms = WINDOW * 1000 // SAMPLE_RATE_HZ
    spans: list[tuple[int, int]] = []
    start: int | None = None
    quiet: int | None = None  # since when a pause may have begun
    for at, probability in enumerate([*probabilities.tolist(), 0.0, *[0.0] * (PAUSE_MIN_MS // window_ms + 1)]):
        here = at * window_ms
        if probability >= SPEECH_STARTS:
            quiet = None
            start = here if start is None else start
        elif start is not None and probability < SPEECH_ENDS:
            quiet = here if quiet is None else quiet
            if here - quiet >= PAUSE_MIN_MS or at >= len(probabilities):
                spans.append((start, min(quiet, duration_ms)))
                start = quiet = None
    return _padded([(start, end) for start, end in spans if end - start >= SPEECH_MIN_MS], duration_ms)


def _padded(spans: list[tuple[int, int]], duration_ms: int) -> list[tuple[int, int]]:
    """Each span a little longer, never into its neighbour."""
    padded: list[tuple[int, int]] = []
    for at, (start, end) in enumerate(spans):
        room = spans[at + 1][0] - end if at + 1 < len(spans) else 2 * PAD_MS
        floor = padded[-1][1] if padded else 0
        padded.append((max(start - PAD_MS, floor), min(end + min(PAD_MS, room // 2), duration_ms)))
    return padded


def _windows(wave: Wave) -> npt.NDArray[np.float32]:
    """(windows, CONTEXT + WINDOW): each window behind the end of the one before it."""
    if wave.ndim != 1:
        raise ValueError(f"a mono wave has one dimension, not {wave.ndim}")
    if not np.isfinite(wave).all():
        raise ValueError("the wave holds NaN or infinity")
    count = -(-wave.size // WINDOW)
    padded = np.zeros(CONTEXT + count * WINDOW, np.float32)
    padded[CONTEXT : CONTEXT + wave.size] = wave
    if count == 0:
        return np.zeros((0, CONTEXT + WINDOW), np.float32)
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + WINDOW)[::WINDOW])


def _model_folder() -> Path:
    spec = find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the voice detector's model is missing: pip install silero-vad")
    return Path(spec.submodule_search_locations[0]) / "data"


def _session(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # its exports carry unused weights, and each would be a warning
    return onnxruntime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
