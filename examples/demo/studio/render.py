"""Waves to media files, by ffmpeg: the program that imageio-ffmpeg brings, driven by ffmpeg-python.

Bit-exact flags, one thread and no clock in the files, so that a rebuild changes as little as it can.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import ffmpeg
import imageio_ffmpeg
import numpy as np
import soundfile

from examples.demo.studio.scenes import Format
from examples.demo.studio.sounds import RATE_HZ

_ENCODERS = {
    "aac": "aac",
    "opus": "libopus",
    "mp3": "libmp3lame",
    "vorbis": "libvorbis",
    "flac": "flac",
    "pcm_s16le": "pcm_s16le",
}
_PICTURE = "testsrc2=size=128x72:rate=4"
GARBAGE_BYTES = 20_000


def render(wave: np.ndarray, file: Path, form: Format) -> None:
    """`wave` (samples, or samples x 6 in the order FL FR FC LFE BL BR) as `form` says."""
    with tempfile.TemporaryDirectory() as folder:
        master = Path(folder, "master.wav")
        soundfile.write(master, wave, RATE_HZ, subtype="PCM_16")
        inputs = []
        if form.acodec != "none":
            inputs.append(ffmpeg.input(str(master)).audio)
        if form.video:
            inputs.append(ffmpeg.input(f"{_PICTURE}:duration={len(wave) / RATE_HZ:.3f}", f="lavfi").video)
        out = ffmpeg.output(*inputs, str(file), **_options(form, wave.ndim > 1))
        out.global_args("-hide_banner", "-loglevel", "error", "-nostdin").run(
            cmd=imageio_ffmpeg.get_ffmpeg_exe(), overwrite_output=True
        )


def _options(form: Format, surround: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"threads": 1, "map_metadata": -1, "fflags": "+bitexact", "flags": "+bitexact"}
    if form.acodec != "none":
        options |= {"acodec": _ENCODERS[form.acodec], "ar": form.rate_hz}
        if form.kbps:
            options["audio_bitrate"] = f"{form.kbps}k"
        if surround:
            options["channel_layout"] = "5.1"
    if form.video:
        options |= {"vcodec": "libx264", "crf": 42, "preset": "veryslow", "pix_fmt": "yuv420p", "g": 600}
    if form.ext in ("mp4", "m4a"):
        options["movflags"] = "+faststart"
    return options


def write_garbage(file: Path, kind: str) -> None:
    """A file that no decoder opens: bytes of nothing, or no bytes."""
    file.write_bytes(random.Random(file.name).randbytes(GARBAGE_BYTES) if kind == "random" else b"")
