"""What the model stages share: models loaded once per process, and clips' bytes as waves that a model can hear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from captioner.load import CaptionerOptions
from scorer.load import ClapOptions
from stages.base import Ending

if TYPE_CHECKING:
    from captioner.load import Captioner
    from scorer.load import Scorer
    from scorer.text_cache import TextCache

#: Rows that can be heard, their waves, and for every row its ending or None.
Heard = tuple[list[int], list[np.ndarray], list[Ending | None]]

#: A clip whose loudest sample is under this (-90 dBFS) is digital silence: there is nothing to caption or score.
SILENT_PEAK = 10 ** (-90 / 20)


@lru_cache(maxsize=2)
def shared_scorer(model: str, device: str, threads: int, options: ClapOptions = ClapOptions()) -> Scorer:  # noqa: B008
    """Embed, Caption and Score on one worker hold one set of weights."""
    from scorer.load import load_scorer

    return load_scorer(model, device, threads, options)


@lru_cache(maxsize=2)
def shared_texts(model: str, device: str, threads: int, options: ClapOptions = ClapOptions()) -> TextCache:  # noqa: B008
    """The worker's memory of captions that it has embedded."""
    from scorer.text_cache import TextCache

    return TextCache(shared_scorer(model, device, threads, options))


@lru_cache(maxsize=2)
def shared_captioner(
    model: str,
    device: str,
    threads: int,
    options: CaptionerOptions = CaptionerOptions(),  # noqa: B008
) -> Captioner:
    """Its CLAP is the one that Embed and Score hold, if they name the same."""
    from captioner.load import EMBEDDED, CaptionerError, load_captioner
    from scorer.load import model_name

    if model == EMBEDDED:
        return load_captioner(model, device, threads, scorer=shared_scorer(model, device, threads), options=options)
    if options.clap is None:
        return load_captioner(model, device, threads, options=options)
    scorer = shared_scorer(options.clap, device, threads, options.clap_options)
    captioner = load_captioner(model, device, threads, scorer=scorer, options=replace(options, clap=None))
    if captioner.clap_name != model_name(scorer):
        raise CaptionerError(
            f"`clap`: {model_name(scorer)} is not the CLAP of {captioner.model_id}, which takes embeddings of "
            f"{captioner.clap_name or 'another size'}"
        )
    return captioner


def hear(audio: bytes | None, sample_rate_hz: int) -> np.ndarray | Ending:
    """The clip's mono wave at the wanted rate, or why it has none."""
    from audio.codec import decode_bytes
    from audio.faults import DecodeError
    from audio.resample import resample

    if not audio:
        return Ending("failed", "no_audio", "the clip has no audio bytes")
    try:
        wave, rate_hz = decode_bytes(audio)
    except DecodeError as error:
        return Ending("failed", error.reason, str(error))
    if wave.size == 0:
        return Ending("failed", "no_audio", "the clip's audio holds no samples")
    if not np.isfinite(wave).all():
        return Ending("failed", "bad_samples", "the clip's audio holds samples that are not finite numbers")
    if float(np.abs(wave).max()) < SILENT_PEAK:
        return Ending("filtered", "silent", "the clip is digital silence")
    wave = resample(wave, rate_hz, sample_rate_hz)
    return wave if wave.size else Ending("failed", "no_audio", "the clip is shorter than one sample of the model")


def hear_all(clips: pa.Table, sample_rate_hz: int) -> Heard:
    """Decoded and resampled; see Heard."""
    rows: list[int] = []
    waves: list[np.ndarray] = []
    endings: list[Ending | None] = [None] * clips.num_rows
    for row, audio in enumerate(clips.column("audio")):
        heard = hear(audio.as_py(), sample_rate_hz)
        if isinstance(heard, Ending):
            endings[row] = heard
        else:
            rows.append(row)
            waves.append(heard)
    return rows, waves, endings


def vectors(column: pa.ChunkedArray, rows: Sequence[int]) -> np.ndarray | None:
    """The rows' embeddings as (B, D) float32; None when one is missing."""
    values = [column[row].as_py() for row in rows]
    return None if any(v is None for v in values) else np.asarray(values, dtype=np.float32)
