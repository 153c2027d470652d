"""The voices: espeak-ng with exact word times, and real prompts of a real person.

espeak-ng's library calls back with audio and with word events that carry their audio position, so that a
rendered narration knows when each word is said. A recorded prompt knows only when the voice starts and ends.
"""

from __future__ import annotations

import ctypes as c
import ctypes.util
from dataclasses import dataclass

import numpy as np
import soxr

from examples.demo.studio.sounds import RATE_HZ, Library, active_frames, level

_SYNCHRONOUS = 2
_CHARACTERS_UTF8 = 1
_WORD, _END_OF_LIST = 1, 0
_RATE, _PITCH = 1, 3
_SPEECH_DBFS = -20.0


@dataclass(frozen=True)
class Word:
    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Speech:
    """A spoken sentence. `exact` says whether the word times were observed or are just the sentence's."""

    text: str
    wave: np.ndarray
    words: list[Word]
    exact: bool
    package: str = ""  # of a recorded prompt, with its path in the package
    file: str = ""


class _EventId(c.Union):
    _fields_ = [("number", c.c_int), ("name", c.c_char_p), ("string", c.c_char * 8)]


class _Event(c.Structure):
    _fields_ = [
        ("type", c.c_int),
        ("unique_identifier", c.c_uint),
        ("text_position", c.c_int),
        ("length", c.c_int),
        ("audio_position", c.c_int),
        ("sample", c.c_int),
        ("user_data", c.c_void_p),
        ("id", _EventId),
    ]


_CALLBACK = c.CFUNCTYPE(c.c_int, c.POINTER(c.c_short), c.c_int, c.POINTER(_Event))


class Narrator:
    """espeak-ng, loaded once per process."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1"
        self._lib = c.CDLL(name)
        self.rate_hz = self._lib.espeak_Initialize(_SYNCHRONOUS, 200, None, 0)
        if self.rate_hz <= 0:
            raise RuntimeError("espeak-ng did not start: are its data files installed?")
        self._pieces: list[np.ndarray] = []
        self._starts: list[tuple[int, int]] = []  # (character, milliseconds)
        self._keep = _CALLBACK(self._on_audio)
        self._lib.espeak_SetSynthCallback(self._keep)

    def say(self, text: str, voice: str = "en-gb", words_per_minute: int = 160, pitch: int = 45) -> Speech:
        """The sentence as audio at RATE_HZ with one Word per word event."""
        self._pieces, self._starts = [], []
        self._lib.espeak_SetVoiceByName(voice.encode())
        self._lib.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._lib.espeak_SetParameter(_PITCH, pitch, 0)
        body = text.encode()
        self._lib.espeak_Synth(body, len(body) + 1, 0, 1, 0, _CHARACTERS_UTF8, None, None)
        wave = np.concatenate(self._pieces).astype(np.float32) / 32768
        wave = level(soxr.resample(wave, self.rate_hz, RATE_HZ, quality="HQ"), _SPEECH_DBFS)
        last = int(np.flatnonzero(active_frames(wave, 45.0))[-1] + 1) * 10
        return Speech(text, wave[: last * RATE_HZ // 1000], self._words(text, last), True)

    def _words(self, text: str, end_ms: int) -> list[Word]:
        starts: list[tuple[int, int]] = []
        for at, start_ms in self._starts:  # espeak sometimes repeats an event or adds one for a full stop
            is_later = not starts or (at > starts[-1][0] and start_ms > starts[-1][1])
            if is_later and 0 <= at < len(text) and text[at].isalnum() and start_ms < end_ms:
                starts.append((at, start_ms))
        words = []
        for k, (at, start_ms) in enumerate(starts):
            until, next_ms = starts[k + 1] if k + 1 < len(starts) else (len(text), end_ms)
            words.append(Word(text[at:until].strip(), start_ms, min(next_ms, end_ms)))
        return words

    def _on_audio(self, wave: c._Pointer[c.c_short], count: int, event: c._Pointer[_Event]) -> int:
        if wave and count > 0:
            self._pieces.append(np.ctypeslib.as_array(wave, (count,)).copy())
        k = 0
        while event[k].type != _END_OF_LIST:
            if event[k].type == _WORD:
                self._starts.append((event[k].text_position - 1, event[k].audio_position))
            k += 1
        return 0


def prompt(library: Library, name: str, text: str) -> Speech:
    """A recorded human prompt; its words share the sentence's start and end."""
    said = library[f"asterisk-core-sounds-en-wav:{name}"]
    words = [Word(text, 0, len(said.wave) * 1000 // RATE_HZ)]
    return Speech(text, said.wave, words, False, said.package, said.file)
