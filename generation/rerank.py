"""Candidates of a prompt, told apart by CLAP: the one whose sound fits the words best is kept."""

from __future__ import annotations

import numpy as np

from audio.resample import resample
from scorer.load import Scorer


def clap_scores(scorer: Scorer, text: str, waves_NS: np.ndarray, sample_rate_hz: int) -> list[float]:
    """One cosine for each wave, float32 mono at this rate."""
    heard = [resample(wave, sample_rate_hz, scorer.sample_rate_hz) for wave in waves_NS]
    return [float(score) for score in scorer.embed_audio(heard) @ scorer.embed_text([text])[0]]


def best(scores: list[float]) -> int:
    """The first of the highest; what is no number is none."""
    return int(np.argmax(np.nan_to_num(np.asarray(scores), nan=-np.inf)))
