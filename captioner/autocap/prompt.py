"""A source's words as ids: <HQVC> visual caption </HQVC>, newline, <TITLE> title </TITLE>, in the published order.

The ids of tags lie behind BART's vocabulary and have a table of their own. Texts are encoded apart from tags, so that
no title can bring a tag, or an end, of its own.
"""

from __future__ import annotations

from typing import Any, Literal

from captioner.load import Metadata

#: In the order of the published configuration: <HQVC> is the vocabulary's size, </HQVC> one more, and so on.
TAGS = ("HQVC", "AVC", "TITLE", "DESC", "SUB", "LBL")
MAX_METADATA_IDS = 128
#: A title or description is cut before it is tokenised: 128 ids never need more.
MAX_CHARACTERS = 4_000

Spacing = Literal["stripped", "kept"]
#: As the authors' captioning environment has it (transformers 4.30.2); 4.41 keeps the blanks.
PUBLISHED_SPACING: Spacing = "stripped"


def metadata_ids(metadata: Metadata, tokenizer: Any, vocabulary: int, spacing: Spacing) -> list[int]:
    """At most 128 ids, without BOS and EOS. Empty fields keep their tags, as in the reference's scripts.

    The reference knows no description; if there is one, it stands behind the title as <DESC> … </DESC>.
    """
    parts = [("HQVC", metadata.video_caption), ("TITLE", metadata.title)]
    if metadata.description:
        parts.append(("DESC", metadata.description))
    ids: list[int] = []
    for tag, text in parts:
        if ids and spacing == "kept":
            ids += encode(tokenizer, " \n ")
        first = vocabulary + 2 * TAGS.index(tag)
        text = text[:MAX_CHARACTERS]
        inner = text.strip() if spacing == "stripped" else f" {text} "
        ids += [first, *encode(tokenizer, inner), first + 1]
    return ids[:MAX_METADATA_IDS]


def encode(tokenizer: Any, text: str) -> list[int]:
    """The text's own ids: what looks like a special token in it is text."""
    if not text:
        return []
    found: list[int] = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    return found
