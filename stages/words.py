"""Find the words that betray speech or music in a caption: whole words in all their forms, phrases, and exceptions.

    lexicon = Lexicon()
    lexicon.find("A man is talking over soft piano music")     # Found(speech="talking", music="piano")
    lexicon.find("Birds sing as the wind whispers")            # Found(speech=None, music=None)

The lists are in stages/words.yaml. Forms are made from each entry rather than cut off from the words of a caption:
English stems mislead ("sing" is not "single", a "stalk" is no talk). Exceptions are taken out of the text first; what
is left is looked up word by word in one table.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

_VOWELS = "aeiou"

#: Words that may stand between somebody and what they do: `~` of a pattern.
_FILLERS = (
    r"(?: (?:is|are|was|were|be|been|being|can|could|may|has|have|had|both|all|also|then|still|just|out|away|again|"
    r"together|outside|nearby|up|to|starts?|begins?|continues?|keeps?|heard|loud|\w+ly|far off|from afar|"
    r"in (?:the|a) \w+|on the \w+|at (?:night|dawn|dusk|the same time))"
    r"| (?:chirp|tweet|call|whistl|squawk|warbl|coo|trill|twitter|caw|hoot|buzz|peep|screech|howl|croak|ring|blow|"
    r"rustl|gurgl|splash|fall|flow|laugh|cheer|clap|cry|walk|run|giggl|cough|hiss|crackl|rattl)(?:e|es|s|ed|ing)?"
    r"(?: ,)?(?: and)?){0,4}"
)
_APOSTROPHES = re.compile(r"['’ʼ`´]s?\b")
_OTHERS = re.compile(r"[^\w,.;:!?…]|_")
_STOPS = re.compile(r"[.;:!?…]+")


class Found(NamedTuple):
    """The first word or phrase of each list that a caption has; None where it has none."""

    speech: str | None = None
    music: str | None = None
    extra: str | None = None


class Lexicon:
    """The lists, with a recipe's own words and exceptions (plain phrases, taken as they stand)."""

    def __init__(
        self, extra_words: Sequence[str] = (), exceptions: Sequence[str] = (), *, talking_animals: bool = False
    ) -> None:
        content = _content()
        self._words = {kind: _forms(content[kind]) for kind in ("speech", "music")}
        self._phrases = {kind: _any_of(map(_pattern, content[kind]["patterns"])) for kind in ("speech", "music")}
        groups = [group for name, group in content["exceptions"].items() if name != "patterns"]
        groups += [content["talking_animals"]] if talking_animals else []
        excused = [*map(_plain, exceptions), *map(_pattern, content["exceptions"]["patterns"])]
        self._exceptions = _any_of([*excused, *(way for group in groups for way in _ways(group))])
        self._extra = _any_of(map(_plain, extra_words)) if extra_words else None

    def find(self, caption: str) -> Found:
        text = normal(caption)
        found = self._look(text)
        if any(found):  # most captions that are kept end here, before the costly question
            found = self._look(self._exceptions.sub("-", text))
        return found

    def _look(self, text: str) -> Found:
        words = text.split()
        extra = self._extra.search(text) if self._extra else None
        return Found(self._first("speech", text, words), self._first("music", text, words), extra and extra.group())

    def _first(self, kind: str, text: str, words: list[str]) -> str | None:
        """Whatever begins first: a listed word, or a phrase."""
        listed = self._words[kind]
        at = next((at for at, word in enumerate(words) if word in listed), None)
        phrase = self._phrases[kind].search(text)
        if phrase and (at is None or text.count(" ", 0, phrase.start()) <= at + 1):
            return str(phrase.group())
        return None if at is None else words[at]


def normal(caption: str) -> str:
    """The caption as patterns read it, ` a man , talking . `: no case, accents, hyphens or possessive endings."""
    text = unicodedata.normalize("NFKD", caption.casefold())
    if not text.isascii():
        text = "".join(c for c in text if unicodedata.category(c) not in ("Mn", "Cf"))
    text = _STOPS.sub(" . ", _OTHERS.sub(" ", _APOSTROPHES.sub("", text)).replace(",", " , "))
    return f" {' '.join(text.split())} "


def counts() -> dict[str, int]:
    """How many entries and forms the lists have, for the documentation."""
    content = _content()
    found = {}
    for kind in ("speech", "music"):
        found[f"{kind} entries"] = sum(len(_entries(content[kind][part])) for part in ("verbs", "nouns", "words"))
        found[f"{kind} words"] = len(_forms(content[kind]))
        found[f"{kind} patterns"] = len(content[kind]["patterns"])
    found["exception groups"] = len(content["exceptions"]) - 1
    found["exception patterns"] = len(content["exceptions"]["patterns"])
    return found


@cache
def _content() -> Mapping[str, Any]:
    import yaml

    content: Mapping[str, Any] = yaml.safe_load((Path(__file__).parent / "words.yaml").read_text(encoding="utf-8"))
    return content


def _entries(text: str) -> list[str]:
    return [entry.strip() for entry in text.split(",")]


def _forms(lists: Mapping[str, str]) -> frozenset[str]:
    """Every whole word that a list stands for."""
    verbs = (form for entry in _entries(lists["verbs"]) for form in verb_forms(entry))
    nouns = (form for entry in _entries(lists["nouns"]) for form in noun_forms(entry))
    return frozenset([*verbs, *nouns, *(_entries(lists["words"]) if "words" in lists else [])])


def verb_forms(entry: str) -> list[str]:
    """`chat+t` -> chat, chats, chatting, chatted; forms after slashes stand for the regular past.

    >>> verb_forms("speak/spoke/spoken")
    ['speak', 'speaks', 'speaking', 'spoke', 'spoken']
    """
    verb, *past = entry.split("/")
    verb, _, doubled = verb.partition("+")
    stem = verb[:-1] if verb.endswith("e") and verb[-2] not in "eoy" else verb + doubled
    if not past:
        past = [f"{verb[:-1]}ied" if _ends_in_y(verb) else f"{stem}ed"]
    return [verb, _with_s(verb), f"{stem}ing", *past]


def noun_forms(entry: str) -> list[str]:
    """`man/men` as it stands, any other noun with its regular plural."""
    noun, *plural = entry.split("/")
    return [noun, *(plural or [_with_s(noun)])]


def _with_s(word: str) -> str:
    if _ends_in_y(word):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "z", "ch", "sh")) else f"{word}s"


def _ends_in_y(word: str) -> bool:
    return word.endswith("y") and word[-2] not in _VOWELS


# Patterns. A regular expression of one starts at a word and ends with one; spaces stand between.


def _any_of(patterns: Iterator[str] | Sequence[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<= )(?:{'|'.join(patterns)})(?= )")


def _plain(phrase: str) -> str:
    return re.escape(normal(phrase).strip())


def _pattern(text: str) -> str:
    """The regular expression of a line of words.yaml; its head explains the signs."""
    first, *others = (_slot(sign) for sign in text.split())
    return first.removeprefix(" ") + "".join(others)


def _slot(sign: str) -> str:
    if sign == "~":
        return _FILLERS
    if sign == "*":
        return rf"(?: (?!(?:{'|'.join(_nouns('people'))}) )\w+){{0,2}}"
    choice = "|".join(form for part in sign.removeprefix("?").split("|") for form in _choices(part))
    return f"(?: (?:{choice}))?" if sign.startswith("?") else f" (?:{choice})"


def _choices(part: str) -> list[str]:
    if part.startswith("<"):
        return _nouns(part.strip("<>"))
    return verb_forms(part.strip("{}")) if part.startswith("{") else [part]


def _nouns(name: str) -> list[str]:
    return [form for entry in _entries(_content()["lists"][name]) for form in noun_forms(entry)]


def _ways(group: Mapping[str, str]) -> list[str]:
    """ "Birds are singing", "singing birds", "the songs of many birds"."""
    who = "|".join(_nouns(group["who"]))
    doing = sorted(_forms(group))
    done = "|".join(doing)
    participles = "|".join(form for form in doing if form.endswith("ing"))
    people = "|".join(_nouns("people"))
    return [
        rf"(?:{who}){_FILLERS} (?:{done})",
        rf"(?:{participles}) (?:{who})",
        rf"(?:{done}) (?:of|by|from)(?: (?!(?:{people}) )\w+){{0,2}}? (?:{who})",
    ]
