"""Names of files for prompts: readable, safe on any disk, never the same twice.

file_names([Asked("", "Rain on a roof"), Asked("", "Rain on a roof"), Asked("clip7", "a dog")])
# ["rain-on-a-roof-90cb1d4e", "rain-on-a-roof-90cb1d4e-2", "clip7"]
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

from generation.prompts import Asked

#: An id that can be a file's name as it is.
SAFE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
#: Names that one system or another keeps for itself.
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
SLUG_CHARACTERS = 60


def file_names(asked: Sequence[Asked]) -> list[str]:
    """One stem for each, in order; told apart even where a disk knows no capitals. What recurs is numbered."""
    taken: set[str] = set()
    names = []
    for one in asked:
        stem = stem_of(one)
        name, number = stem, 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        names.append(name)
    return names


def reference_name(one: Asked) -> str:
    """What the reference calls the file of a prompt, and seeds its noise with."""
    return one.id or re.sub("[ '\"]", "_", one.text)


def stem_of(one: Asked) -> str:
    """The id if it may be a name, else what is readable of id or text and a hash of all of it."""
    if SAFE_ID.fullmatch(one.id) and not one.id.endswith(".") and not RESERVED.fullmatch(one.id):
        return one.id
    told = f"{one.id}\0{one.text}" if one.id else one.text
    digest = hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{slug(one.id or one.text)}-{digest}"


def slug(text: str) -> str:
    """Letters and digits of ASCII with hyphens between, cut at a word; "prompt" where there are none."""
    plain = unicodedata.normalize("NFKD", text[:1000]).encode("ascii", "ignore").decode().lower()
    words = "-".join(re.findall(r"[a-z0-9]+", plain))
    if len(words) > SLUG_CHARACTERS:
        words = words[: SLUG_CHARACTERS + 1].rpartition("-")[0] or words[:SLUG_CHARACTERS]
    return words or "prompt"
