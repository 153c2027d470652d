"""The one fault of a training that is the user's to mend."""

from __future__ import annotations


class TrainError(ValueError):
    """A training that cannot be done or gone on with as asked: what, where, and what to do."""
