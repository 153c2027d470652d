"""What a person can put right about a generation: told in a sentence."""

from __future__ import annotations


class GenerationError(Exception):
    """A prompt, setting, model or folder that cannot be used; the message says which, why, and what to do."""
