"""Load a scorer for a verb: what can be wrong with a model's name is told in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scorer.load import Scorer


class ModelError(Exception):
    """A scorer that cannot be loaded; the message says which and why."""


def open_scorer(model: str, device: str = "cpu", options: Mapping[str, Any] | None = None) -> Scorer:
    """The scorer behind `model` (see scorer.load.load_scorer); `options` as a recipe's `clap` has them.

    Raises ModelError.
    """
    from scorer.load import ClapOptions, load_scorer

    try:
        return load_scorer(model, device, options=ClapOptions(**(options or {})))
    except (TypeError, ValueError, OSError, RuntimeError, AssertionError, ImportError) as error:
        raise ModelError(f"the scorer {model!r} cannot be loaded on {device}: {error}") from error


def threshold_text(scorer: Scorer) -> str:
    """`AutoReCapXL 0.1, MQ 0.4, HQ 0.5`."""
    return ", ".join(f"{name} {value:g}" for name, value in scorer.preset_thresholds.items())
