"""What sources say of themselves: untrusted text, cleaned and bounded; and where `fetch` keeps what a page said.

A list may give clips of pages that nobody has asked when the plan was made. `fetch` extracts such a page anyway: its
title, description, license and uploader then fill the clip's columns that are empty. They lie beside the media in the
node's cache (`page.json`), so that a unit that is worked again after a crash has the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.cache import MediaCache

MAX_TITLE = 1000
MAX_TEXT = 2000

#: The columns that a page fills.
PAGE_TEXTS = ("title", "description", "license", "uploader")


def clean(text: str, max_chars: int | None = None) -> str:
    """Text that Arrow can hold (no lone surrogates, no NUL), cut to a length."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")[:max_chars]


def texts_of(said: Mapping[str, Any], names: tuple[str, ...] = PAGE_TEXTS) -> dict[str, str | None]:
    """The named texts that are there, as bounded text; numbers count as text, other values do not."""
    found: dict[str, str | None] = {}
    for name in names:
        value = said.get(name)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            text = clean(str(value), MAX_TITLE if name == "title" else MAX_TEXT).strip()
            if text:
                found[name] = text
    return found


def note_page(folder: Path, said: Mapping[str, Any]) -> None:
    """Keep what a page says in its source's folder of the cache."""
    temporary = folder / ".tmp-page"
    temporary.write_text(json.dumps(texts_of(said)), encoding="utf-8")
    temporary.replace(folder / "page.json")


def page_texts(cache_dir: Path, source_id: str) -> dict[str, str]:
    """What `note_page` has kept of a source; nothing where it was not asked."""
    found = MediaCache(cache_dir, "page").find(source_id)
    if found is None:
        return {}
    texts: dict[str, str] = json.loads(found.read_text(encoding="utf-8"))
    return texts
