"""Lossy export codecs: PyAV in process against ffmpeg-python, which starts the static program for every clip.

python -m benchmarks.encode
"""

from __future__ import annotations

import time

import numpy as np

from audio.codec import encode

RATE_HZ = 48_000
CLIPS = 30


def by_program(wave: np.ndarray, codec: str) -> bytes:
    """One clip through ffmpeg-python and imageio-ffmpeg's program, over pipes."""
    import ffmpeg
    import imageio_ffmpeg

    options = {"opus": {"format": "ogg", "acodec": "libopus"}, "mp3": {"format": "mp3", "acodec": "libmp3lame"}}[codec]
    command = (
        ffmpeg.input("pipe:", format="f32le", ar=RATE_HZ, ac=1)
        .output("pipe:", **options)
        .global_args("-loglevel", "error")
    )
    out, _ = command.run(cmd=imageio_ffmpeg.get_ffmpeg_exe(), input=wave.tobytes(), capture_stdout=True)
    return bytes(out)


def main() -> None:
    chance = np.random.default_rng(0)
    waves = [(0.1 * chance.standard_normal(10 * RATE_HZ)).astype(np.float32) for _ in range(CLIPS)]
    print(f"{'codec':<6} {'PyAV ms/clip':>14} {'ffmpeg-python ms/clip':>22} {'ratio':>6}")
    for codec in ("opus", "mp3"):
        seconds = {}
        for name, run in (("av", lambda wave, codec=codec: encode(wave, RATE_HZ, codec)), ("program", by_program)):
            started = time.perf_counter()
            for wave in waves:
                run(wave) if name == "av" else run(wave, codec)  # type: ignore[call-arg]
            seconds[name] = (time.perf_counter() - started) / CLIPS
        ratio = seconds["program"] / seconds["av"]
        print(f"{codec:<6} {1000 * seconds['av']:>14.1f} {1000 * seconds['program']:>22.1f} {ratio:>6.2f}")


if __name__ == "__main__":
    main()
