"""What can be wrong with a media file, in three words that end up in the corpus (`failed / <reason>`)."""

from __future__ import annotations

from typing import Literal

Reason = Literal["undecodable", "no_audio", "empty_file"]


class DecodeError(Exception):
    """Media that gives no audio. `reason` is a fixed word, the message one sentence for a person."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason
