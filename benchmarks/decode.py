"""Cutting six 10 s clips out of a 240 s source: by seeking, against decoding it whole.

    python benchmarks/decode.py [--repeat 5]

Prints one line per kind of file: seconds of processor time (best of the repeats) and their ratio.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from audio.codec import encode
from audio.decode import AudioSource

SECONDS = 240
CLIPS_MS = [(start, start + 10_000) for start in (3_000, 41_500, 77_777, 120_000, 166_100, 225_000)]
KINDS = {
    "AAC in m4a": ("a.m4a", "aac", 44100),
    "Opus in webm": ("a.webm", "libopus", 48000),
    "MP3": ("a.mp3", "libmp3lame", 44100),
    "FLAC": ("a.flac", "flac", 44100),
    "PCM wav": ("a.wav", "pcm_s16le", 44100),
}


def make(path: Path, codec: str, rate: int) -> Path:
    """Two channels of shifting tones and noise."""
    t = np.arange(rate * SECONDS, dtype=np.float32) / rate
    wave = 0.3 * np.sin(2 * np.pi * 300 * t + 40 * np.sin(t)) + 0.05 * np.random.default_rng(0).standard_normal(t.size)
    stereo = np.stack([wave, wave[::-1]]).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        stream.codec_context.open()
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(stream.codec_context.format.name, "stereo", rate, frame_size=size)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(stereo), format="fltp", layout="stereo")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return path


def by_seeking(path: Path) -> None:
    with AudioSource(path) as source:
        for start_ms, end_ms in CLIPS_MS:
            assert source.segment(start_ms, end_ms).size > 0


def by_whole(path: Path) -> None:
    with AudioSource(path) as source:
        wave = source.segment(0, SECONDS * 1000 + 1000)
        rate = source.sample_rate_hz
    assert all(wave[start * rate // 1000 : end * rate // 1000].size for start, end in CLIPS_MS)


def bare_whole(path: Path) -> None:
    """PyAV's own loop with nothing added: what decoding alone costs."""
    with av.open(io.BytesIO(path.read_bytes())) as container:
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        for _ in container.decode(stream):
            pass


def cut_and_encode(path: Path) -> None:
    with AudioSource(path) as source:
        for start_ms, end_ms in CLIPS_MS:
            encode(source.folded_segment(start_ms, end_ms, 48_000).wave, 48_000, "flac")


def best(run: Callable[[Path], None], path: Path, repeat: int) -> float:
    """The least processor time of `repeat` runs."""
    times = []
    for _ in range(repeat):
        started = time.process_time()
        run(path)
        times.append(time.process_time() - started)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    print(f"{SECONDS} s stereo, {len(CLIPS_MS)} clips of 10 s; seconds of processor time, one thread")
    print(f"{'':14}{'seek':>8}{'whole':>8}{'ratio':>8}{'bare whole':>12}{'seek+48k+FLAC':>15}")
    with tempfile.TemporaryDirectory() as folder:
        for name, (file, codec, rate) in KINDS.items():
            path = make(Path(folder) / file, codec, rate)
            seek, whole, bare, cut = (
                best(run, path, repeat) for run in (by_seeking, by_whole, bare_whole, cut_and_encode)
            )
            print(f"{name:14}{seek:8.3f}{whole:8.3f}{whole / seek:7.1f}x{bare:12.3f}{cut:15.3f}")


if __name__ == "__main__":
    main()
