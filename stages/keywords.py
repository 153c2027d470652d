"""Find the words that betray speech or music in captions, and drop such clips (curation step 7: of 327 M captions 57 M
are left in the paper, 17.4 %).

    - use: keywords
      extra_words: [podcast intro]
      exceptions: [wind chime melody]

What is found is stored (`speech_word`, `music_word`, `extra_word`); a clip that has one ends as filtered with the
column's name as its reason. With `end_clips: false` all stay live, and `select --where "is_null(speech_word)"` decides.
The lists and their exceptions are in stages/words.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import pyarrow as pa
from annotated_types import MinLen

from corpus.schema import fields
from stages.base import Ending, Needs, Services, with_columns, with_endings
from stages.words import Found, Lexicon, normal


@dataclass(kw_only=True)
class Keywords:
    """`speech`, `music`: whether these words end clips; `extra_words` and `exceptions` are the recipe's own phrases.

    `talking_animals`: leave a talking parrot alone.
    """

    end_clips: bool = True
    speech: bool = True
    music: bool = True
    talking_animals: bool = False
    extra_words: list[Annotated[str, MinLen(1)]] = field(default_factory=list)
    exceptions: list[Annotated[str, MinLen(1)]] = field(default_factory=list)

    reads: ClassVar[tuple[str, ...]] = ("caption",)
    adds: ClassVar[pa.Schema] = fields("speech_word", "music_word", "extra_word")

    def __post_init__(self) -> None:
        for phrase in [*self.extra_words, *self.exceptions]:
            if not normal(phrase).strip(" ,."):
                raise ValueError(f"{phrase!r} has no word in it: nothing could be found by it")

    def needs(self) -> Needs:
        return Needs(cpus=1.0)

    def open(self, services: Services) -> None:
        """Compile the lists once."""
        self._lexicon = Lexicon(self.extra_words, self.exceptions, talking_animals=self.talking_animals)

    def run(self, clips: pa.Table) -> pa.Table:
        coded = clips.column("caption").combine_chunks().dictionary_encode()  # captions repeat themselves
        captions = coded.dictionary.to_pylist()
        found = [self._lexicon.find(caption) for caption in captions]
        columns = {
            "speech_word": pa.array([f.speech for f in found], pa.string()).take(coded.indices),
            "music_word": pa.array([f.music for f in found], pa.string()).take(coded.indices),
            "extra_word": pa.array([f.extra for f in found], pa.string()).take(coded.indices),
        }
        clips = with_columns(clips, columns, self.adds)
        if not self.end_clips:
            return clips
        endings = [self._ending(*each) for each in zip(captions, found, strict=True)]
        empty = self._ending(None, Found())
        return with_endings(clips, [empty if at is None else endings[at] for at in coded.indices.to_pylist()])

    def _ending(self, caption: str | None, found: Found) -> Ending | None:
        """Why a clip with this caption is dropped; None keeps it."""
        if not caption or not caption.strip():
            return Ending("filtered", "no_caption", "the captioner said nothing")
        if found.extra:
            return Ending("filtered", "extra_word", f"the caption has {found.extra!r}")
        if found.speech and self.speech:
            return Ending("filtered", "speech_word", f"the caption has {found.speech!r}")
        if found.music and self.music:
            return Ending("filtered", "music_word", f"the caption has {found.music!r}")
        return None

    def close(self) -> None:
        """Nothing to give back."""
