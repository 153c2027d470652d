"""Captions to tokens without Java: close to what coco-caption makes of them.

coco-caption runs Stanford's PTBTokenizer (CoreNLP 3.4.1, lower case) and drops the tokens of PUNCTUATION. This does the
same for what captions are made of: words, hyphens, contractions ("is n't", "dog 's"), numbers, times, abbreviations,
quotes, dashes, brackets. docs/evaluation.md states where the two differ, and how often.
"""

from __future__ import annotations

import re

#: Tokens that do not count. Stanford's brackets come out in lower case and so are not in coco-caption's list: they
#: count there as words, and here.
PUNCTUATION = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])

_PLAIN = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "…": "...", "–": "--", "—": "--", "\u00ad": None, "\u00a0": " "}
)  # fmt: skip
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_ABBREVIATIONS = "mr|mrs|ms|dr|st|prof|jr|sr|vs|etc|inc|co|corp|ltd|no|gen|capt|lt|col|sgt|rev|hon|ft|mt|ave|approx"
_TOKEN = re.compile(
    rf"""
    https?://\S+ | [\w.+-]+@[\w-]+(?:\.[\w-]+)+      # addresses
    | (?:[^\W\d_]\.){{2,}}(?!\w)                     # e.g.  u.s.
    | [^\W\d_]\.(?=\s+\w)                            # j. smith, but no letter that ends a caption
    | (?:{_ABBREVIATIONS})\.(?!\w)
    | \#\w+ | @\w+
    | \d+(?:[.,:/]\d+)+(?!\w)                        # 1,000  3.5  5:30  1/2
    | \w+(?:[-/'&.]\w+)*                             # dog  x-ray  and/or  o'clock  don't
    | [?!]{{2,}}
    | \S
    """,
    re.VERBOSE,
)
_CONTRACTION = re.compile(r"(.+?)(n't|'(?:s|re|ve|ll|d|m))")
_TWO_WORDS = {
    "cannot": ("can", "not"), "gonna": ("gon", "na"), "gotta": ("got", "ta"), "wanna": ("wan", "na"),
    "gimme": ("gim", "me"), "lemme": ("lem", "me"),
}  # fmt: skip


def tokenize(caption: str) -> list[str]:
    """Lower-case tokens, punctuation dropped; empty for a caption without a word."""
    out: list[str] = []
    for token in _TOKEN.findall(caption.translate(_PLAIN).lower()):
        out += _split(token)
    return [token for token in out if token not in PUNCTUATION]


def _split(token: str) -> tuple[str, ...]:
    if "'" in token and (found := _CONTRACTION.fullmatch(token)) is not None:
        return found.group(1), found.group(2)
    if token == '"':
        return ()
    return _TWO_WORDS.get(token) or (_BRACKETS.get(token, token),)
