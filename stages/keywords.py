"""Drop clips whose caption names speech or music (curation step 7: 327 M captions in, 57 M out in the paper).

    - use: keywords
      extra_words: [podcast intro]
      exceptions: [wind chime melody]

A word counts as a whole word, in any of the forms written out in stages/words.py; phrases such as "birds singing" are
taken out first. Reasons: `speech_word`, `music_word`; `detail` names the word, so that a list can be judged later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar

import pyarrow as pa

from stages.base import Ending, Needs, Services, with_endings
from stages.words import EXCEPTIONS, MUSIC_WORDS, SPEECH_WORDS

WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")


@dataclass(kw_only=True)
class Keywords:
    """Which lists apply, and the recipe's own words (dropped as `extra_word`) and exceptions (plain phrases)."""

    speech: bool = True
    music: bool = True
    extra_words: list[str] = field(default_factory=list)
    exceptions: list[str] = field(default_factory=list)

    reads: ClassVar[tuple[str, ...]] = ("caption",)
    adds: ClassVar[pa.Schema] = pa.schema([])

    def needs(self) -> Needs:
        return Needs(cpus=1.0)

    def open(self, services: Services) -> None:
        """Compile the exceptions once."""
        phrases = [*EXCEPTIONS, *(rf"\b{re.escape(phrase.lower())}\b" for phrase in self.exceptions)]
        self._exceptions = re.compile("|".join(phrases))
        self._extra = [re.compile(rf"\b{re.escape(word.lower())}\b") for word in self.extra_words]

    def run(self, clips: pa.Table) -> pa.Table:
        return with_endings(clips, [self.judge(caption) for caption in clips.column("caption").to_pylist()])

    def judge(self, caption: str | None) -> Ending | None:
        """Why a clip with this caption is dropped; None keeps it. An empty caption is dropped as `no_caption`."""
        if not caption or not caption.strip():
            return Ending("filtered", "no_caption", "the captioner said nothing")
        text = self._exceptions.sub(" ", caption.lower())
        for pattern in self._extra:
            if found := pattern.search(text):
                return Ending("filtered", "extra_word", f"the caption has {found.group()!r}")
        for word in WORD.findall(text):
            for part in (word, *word.split("-")):
                if self.speech and part in SPEECH_WORDS:
                    return Ending("filtered", "speech_word", f"the caption has {part!r}")
                if self.music and part in MUSIC_WORDS:
                    return Ending("filtered", "music_word", f"the caption has {part!r}")
        return None

    def close(self) -> None:
        """Nothing to give back."""
