"""From a script of sentences and sounds to one wave, and the truth about what is heard in it when.

A script is a list of `Say` (a sentence), `Gap` (real sounds, nobody speaks) and `Music` (an instrument passage
that the captions call "[Music]"). Everything is placed one after the other; sounds of a gap stay clear of the
sentences beside it. Choices that look random come from the scene's name, so a rebuild places all alike.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from examples.demo.studio.captions import Cue
from examples.demo.studio.narrator import Narrator, Word, prompt
from examples.demo.studio.sounds import RATE_HZ, Library, Recording

CLEAR_S = 0.3  # between a sentence and a gap's sounds
BREATH_S = 0.45  # between two sentences with no gap between them
BED_DB = -12.0  # a bed under a gap's sounds
ROOM_DBFS = -64.0  # no recording is digitally silent
SHORTEST_S = 0.12  # less than this of a sound is not placed


@dataclass(frozen=True)
class Say:
    """`prompt` names a recorded prompt that says `text`; `translation` is for a second caption track."""

    text: str
    prompt: str | None = None
    translation: str | None = None


@dataclass(frozen=True)
class Gap:
    """Sounds in turn, with a pause from `pause_s` after each, over a looped `bed`."""

    seconds: float
    sounds: tuple[str, ...]
    bed: str | None = None
    pause_s: tuple[float, float] = (0.2, 0.7)


@dataclass(frozen=True)
class Music(Gap):
    """A gap for the ear, but the captions say "[Music]"."""


Step = Say | Gap | Music


@dataclass
class Mixed:
    """What a script became. `cues` are in the script's language, `translated` the same times in English."""

    wave: np.ndarray
    truth: list[dict[str, Any]] = field(default_factory=list)
    cues: list[Cue] = field(default_factory=list)
    translated: list[Cue] = field(default_factory=list)

    @property
    def duration_ms(self) -> int:
        return len(self.wave) * 1000 // RATE_HZ


class Mixer:
    def __init__(self, library: Library, narrator: Narrator) -> None:
        self.library = library
        self.narrator = narrator

    def mix(self, source_id: str, script: Sequence[Step], voice: str = "en-gb", clear_s: float = CLEAR_S) -> Mixed:
        """The whole script; `clear_s` is 0 for recordings in which nobody speaks."""
        choice = random.Random(source_id)
        mixed = Mixed(np.zeros(0, np.float32))
        pieces: list[np.ndarray] = []
        at = 0  # samples so far
        for k, step in enumerate(script):
            if isinstance(step, Say):
                if k and isinstance(script[k - 1], Say):
                    pieces.append(np.zeros(int(BREATH_S * RATE_HZ), np.float32))
                    at += len(pieces[-1])
                piece = self._say(step, at * 1000 / RATE_HZ, voice, mixed)
            else:
                piece = self._sounds(step, at * 1000 / RATE_HZ, clear_s, choice, mixed)
            pieces.append(piece)
            at += len(piece)
        wave = np.concatenate(pieces)
        room = np.random.default_rng(choice.getrandbits(32)).standard_normal(len(wave)) * 10 ** (ROOM_DBFS / 20)
        mixed.wave = np.clip(wave + room, -0.99, 0.99).astype(np.float32)
        for line in mixed.truth:
            line["source_id"] = source_id
        return mixed

    def _say(self, step: Say, start_ms: float, voice: str, mixed: Mixed) -> np.ndarray:
        speech = prompt(self.library, step.prompt, step.text) if step.prompt else self.narrator.say(step.text, voice)
        words = [Word(w.text, int(start_ms + w.start_ms), _up(start_ms + w.end_ms)) for w in speech.words]
        if speech.exact:
            mixed.truth += [_spoken("word", word.text, word.start_ms, word.end_ms) for word in words]
        start = words[0].start_ms
        end = max(words[-1].end_ms, _up(start_ms + len(speech.wave) * 1000 / RATE_HZ))
        voice_of = {"package": speech.package, "file": speech.file} if speech.package else {}
        mixed.truth.append(_spoken("sentence", step.text, start, end) | voice_of)
        mixed.cues.append(Cue(step.text, start, end, words if speech.exact else []))
        mixed.translated.append(Cue(step.translation or step.text, start, end))
        return speech.wave

    def _sounds(self, step: Gap, start_ms: float, clear_s: float, choice: random.Random, mixed: Mixed) -> np.ndarray:
        size, edge = int(step.seconds * RATE_HZ), int(clear_s * RATE_HZ)
        out = np.zeros(size, np.float32)
        if isinstance(step, Music):
            cue = Cue("[Music]", int(start_ms), _up(start_ms + size * 1000 / RATE_HZ))
            mixed.cues.append(cue)
            mixed.translated.append(cue)
        if step.bed:
            bed = self.library[step.bed]
            looped = np.resize(_faded(bed.wave, 0.02), size - 2 * edge)
            out[edge : size - edge] += _faded(looped, 0.1) * 10 ** (BED_DB / 20)
            mixed.truth.append(_heard(bed, start_ms, edge, size - edge))
        at = edge
        for name in itertools.cycle(step.sounds):
            sound = self.library[name]
            until = min(at + len(sound.wave), size - edge)
            if until - at < min(int(SHORTEST_S * RATE_HZ), len(sound.wave)):
                break
            out[at:until] += _faded(sound.wave[: until - at], 0.005 if until - at == len(sound.wave) else 0.1)
            mixed.truth.append(_heard(sound, start_ms, at, until))
            at = until + int(choice.uniform(*step.pause_s) * RATE_HZ)
            if at >= size - edge:
                break
        return out


def _faded(wave: np.ndarray, seconds: float) -> np.ndarray:
    """With a short ramp at both ends: no clicks."""
    size = min(int(seconds * RATE_HZ), len(wave) // 2)
    ramp = np.ones(len(wave), np.float32)
    ramp[:size] = np.linspace(0, 1, size)
    ramp[len(wave) - size :] = np.linspace(1, 0, size)
    return wave * ramp


def _up(ms: float) -> int:
    return int(ms) if ms == int(ms) else int(ms) + 1


def _spoken(kind: str, text: str, start_ms: int, end_ms: int) -> dict[str, Any]:
    return {"source_id": "", "kind": kind, "start_ms": start_ms, "end_ms": end_ms, "text": text}


def _heard(sound: Recording, start_ms: float, start: int, end: int) -> dict[str, Any]:
    return {
        "source_id": "",
        "kind": "sound",
        "start_ms": int(start_ms + start * 1000 / RATE_HZ),
        "end_ms": _up(start_ms + end * 1000 / RATE_HZ),
        "label_text": sound.label_text,
        "package": sound.package,
        "file": sound.file,
    }
