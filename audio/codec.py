"""Waves to encoded bytes and back: what lies in a corpus or a shard as one member.

FLAC and WAV are 16-bit and lossless from there: encode(decode(bytes)) gives the same bytes. Opus and MP3 are for
export. The same wave always gives the same bytes (no clock, no random stream serial, no encoder's own tags).
"""

from __future__ import annotations

import hashlib
import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
import soundfile

from audio.faults import DecodeError
from audio.media import as_decode_error
from audio.mixdown import Wave

#: Codec -> file name extension.
EXTENSIONS: dict[str, str] = {"flac": "flac", "wav": "wav", "opus": "opus", "mp3": "mp3"}

_LOSSY: dict[str, tuple[str, str, int, tuple[int, ...]]] = {  # container, encoder, bits/s, rates it takes
    "opus": ("ogg", "libopus", 96_000, (8000, 12000, 16000, 24000, 48000)),
    "mp3": ("mp3", "libmp3lame", 128_000, (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
}
_FULL_SCALE = 32768

Pcm16 = np.ndarray[Any, np.dtype[np.int16]]


def encode(wave: Wave, sample_rate_hz: int, codec: str, *, bits_per_s: int | None = None) -> bytes:
    """A mono wave as a file of `codec` in memory; what lies outside [-1, 1] is clipped.

    `bits_per_s` is for Opus and MP3 (default: 96,000 and 128,000).

    ValueError for a wave that is empty, not mono or not finite, and for a codec or rate that does not exist.
    """
    return encode_pcm(pcm16(wave), sample_rate_hz, codec, bits_per_s=bits_per_s)


def encode_pcm(pcm: Pcm16, sample_rate_hz: int, codec: str, *, bits_per_s: int | None = None) -> bytes:
    """`encode` for samples that are int16 already."""
    if codec not in EXTENSIONS:
        raise ValueError(f"codec must be one of {', '.join(EXTENSIONS)}, not {codec!r}")
    if codec in _LOSSY:
        return _encode_lossy(pcm, sample_rate_hz, codec, bits_per_s)
    if not 1000 <= sample_rate_hz <= 655_350:
        raise ValueError(f"{codec} takes sample rates from 1000 to 655350 Hz, not {sample_rate_hz}")
    file = io.BytesIO()
    soundfile.write(file, pcm, sample_rate_hz, format=codec.upper(), subtype="PCM_16")
    return file.getvalue()


def pcm16(wave: Wave) -> Pcm16:
    """A mono wave as FLAC and WAV hold it: int16, what lies outside [-1, 1] clipped; ValueError as for `encode`."""
    wave = np.asarray(wave)
    if wave.ndim != 1:
        raise ValueError(f"a mono wave has one dimension, not {wave.ndim}")
    if wave.size == 0:
        raise ValueError("a wave of no samples cannot be encoded")
    if not np.isfinite(wave).all():
        raise ValueError("the wave holds NaN or infinity")
    # By 32768, as decoders divide: a decoded wave encodes to what it was.
    return np.clip(np.rint(wave * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)


def pcm_sha256(pcm: Pcm16) -> str:
    """SHA-256 of the samples as little-endian int16: equal for equal sound, however it is stored."""
    return hashlib.sha256(pcm.astype("<i2", copy=False).tobytes()).hexdigest()


def decode_bytes(data: bytes) -> tuple[Wave, int]:
    """(mono wave, sample rate in Hz) of a whole encoded file; DecodeError when it is none."""
    if not data:
        raise DecodeError("empty_file", "there are no bytes to decode")
    if data[:4] in (b"fLaC", b"RIFF"):
        with as_decode_error("the bytes cannot be decoded"):
            samples, sample_rate_hz = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
        wave = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
        return np.nan_to_num(wave, nan=0.0, posinf=0.0, neginf=0.0), int(sample_rate_hz)
    from audio.decode import AudioSource

    with AudioSource(io.BytesIO(data)) as source:
        return source.samples(0, _LONGEST), source.sample_rate_hz


#: More samples than any file has.
_LONGEST = 1 << 62


def _encode_lossy(pcm: Pcm16, sample_rate_hz: int, codec: str, bits_per_s: int | None) -> bytes:
    container_name, encoder, bit_rate, rates = _LOSSY[codec]
    if sample_rate_hz not in rates:
        known = ", ".join(str(rate) for rate in rates)
        raise ValueError(f"{codec} takes sample rates of {known} Hz, not {sample_rate_hz}")
    file = io.BytesIO()
    with av.open(file, "w", format=container_name, container_options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream(encoder, rate=sample_rate_hz, layout="mono", options={"flags": "+bitexact"})
        stream.bit_rate = bits_per_s or bit_rate
        context = stream.codec_context
        context.thread_count = 1
        context.open()
        size = context.frame_size or pcm.size
        for start in range(0, pcm.size, size):
            for packet in stream.encode(_frame(pcm[start : start + size], start, sample_rate_hz, context.format.name)):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return file.getvalue()


def _frame(pcm: Pcm16, start: int, sample_rate_hz: int, format_name: str) -> Any:
    """One encoder's frame, in the sample format that the encoder takes."""
    samples: Any = pcm.astype(np.float32) / _FULL_SCALE
    if format_name.startswith("s16"):
        samples = pcm
    elif format_name.startswith("s32"):
        samples = pcm.astype(np.int32) << 16
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format=format_name, layout="mono")
    frame.sample_rate = sample_rate_hz
    frame.time_base = Fraction(1, sample_rate_hz)
    frame.pts = start
    return frame
