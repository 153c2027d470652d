"""Clips to be heard in a page that asks nobody for anything: their first seconds, small, inside the page itself.

Opus at 32 kbit/s, mono: 4 kB a second, a third more as text in the page. What is over the page's room has no player.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from corpus.store import Store
from corpus.units import read_audio
from pipeline.clips import AudioPlace, Clip

BITS_PER_S = 32_000
LONGEST_S = 12.0
PAGE_BYTES = 5_000_000

#: What Opus takes; another rate becomes the first that is not below it.
_RATES = (8000, 12000, 16000, 24000, 48000)


@dataclass(frozen=True)
class Player:
    """`data_uri` None: there is nothing to hear, and `note` says why. Else `note` says if it is only a beginning."""

    data_uri: str | None
    note: str = ""


class Players:
    """Makes each clip's player once, until the page is full."""

    def __init__(self, store: Store, page_bytes: int = PAGE_BYTES) -> None:
        self._store, self._left = store, page_bytes
        self._made: dict[str, Player] = {}

    def of(self, clip: Clip) -> Player:
        """A clip asked for again is put in the page again: it takes its room each time."""
        if clip.clip_id not in self._made:
            self._made[clip.clip_id] = self._make(clip)
        player = self._made[clip.clip_id]
        size = len(player.data_uri or "")
        if size > self._left:
            return Player(None, "no player: the page is full")
        self._left -= size
        return player

    def _make(self, clip: Clip) -> Player:
        from audio.codec import encode
        from audio.faults import DecodeError

        if not clip.audio:
            return Player(None, "no audio in the corpus")
        try:
            wave, rate, is_whole = self._beginning(clip.audio)
        except FileNotFoundError:
            return Player(None, "its audio is no longer in the corpus")
        except DecodeError as error:
            return Player(None, f"its audio cannot be decoded: {error}")
        if wave.size == 0:
            return Player(None, "its audio holds no samples")
        data = encode(wave, rate, "opus", bits_per_s=BITS_PER_S)
        uri = f"data:audio/ogg;base64,{base64.b64encode(data).decode()}"
        return Player(uri, "" if is_whole else f"its first {LONGEST_S:g} s")

    def _beginning(self, places: tuple[AudioPlace, ...]) -> tuple[np.ndarray, int, bool]:
        """(wave, rate that Opus takes, whether it is all), of the members up to LONGEST_S."""
        from audio.codec import decode_bytes
        from audio.resample import resample

        waves: list[np.ndarray] = []
        length_s, target = 0.0, _RATES[-1]
        for number, place in enumerate(places):
            if length_s >= LONGEST_S:
                return np.concatenate(waves)[: round(LONGEST_S * target)], target, False
            wave, rate = decode_bytes(read_audio(self._store, place.tar, place.offset, place.size))
            if number == 0:
                target = next((known for known in _RATES if known >= rate), _RATES[-1])
            waves.append(resample(wave, rate, target))
            length_s += wave.size / rate
        limit = round(LONGEST_S * target)
        return np.concatenate(waves)[:limit], target, length_s <= LONGEST_S
