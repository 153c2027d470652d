"""A source's words as tagged text, the way AutoCap has it: <HQVC>visual caption</HQVC> \\n <TITLE>title</TITLE>."""

from __future__ import annotations

import re

from captioner.load import Metadata

SPECIAL = ("<pad>", "<bos>", "<eos>", "<HQVC>", "</HQVC>", "<TITLE>", "</TITLE>")
PAD, BOS, EOS = 0, 1, 2
FIELD_CHARACTERS = 120


def prompt(metadata: Metadata) -> str:
    """Tagged text; a field that is empty is left out, and no field can bring tags of its own."""
    fields = (("HQVC", metadata.video_caption), ("TITLE", metadata.title))
    return " \n ".join(f"<{tag}>{plain(text)}</{tag}>" for tag, text in fields if plain(text))


def plain(text: str) -> str:
    """Untrusted text without tags, line breaks or great length."""
    return re.sub(r"[<>\s]+", " ", text or "").strip()[:FIELD_CHARACTERS]
