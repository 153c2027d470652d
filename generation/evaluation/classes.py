"""Class logits as probabilities, in float64."""

from __future__ import annotations

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    return np.asarray(np.exp(log_softmax(logits)))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Each by itself."""
    logits = np.asarray(logits, np.float64)
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))
