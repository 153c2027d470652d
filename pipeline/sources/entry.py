"""One listed source: where it is, what it is called, what the list or folder says of it.

`source_key` names a source for ever: a YouTube id, a URL in one spelling, a file's full path, or its path below a
folder that has a name. Two entries with the same key are the same source, however they were written. `source_id`,
short and safe in file names, follows from the key alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit, urlunsplit

import pyarrow as pa

YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_YOUTUBE_HOSTS = frozenset({"youtube.com", "youtube-nocookie.com"})
_YOUTUBE_PATH = re.compile(r"/(?:embed|shorts|live|v|e)/([A-Za-z0-9_-]{11})(?:/|$)")


class SourceError(Exception):
    """A list or folder of the recipe that cannot be read; one sentence, with its name."""


@dataclass(frozen=True, kw_only=True)
class SourceEntry:
    """As listed; sidecars and transcripts of folder sources are only named here and read when planning."""

    source_key: str
    kind: Literal["url", "file"]
    location: str  # a URL to extract, a local path or an fsspec URL
    url: str | None = None  # where a person finds it, if that is not `location`
    title: str | None = None
    description: str | None = None
    video_caption: str | None = None
    license: str | None = None
    uploader: str | None = None
    meta: str | None = None  # JSON: what else the list says
    sidecar: str | None = None  # `<stem>.json` beside the file
    transcript: str | None = None  # `<stem>.vtt`, .srt or .json3 beside the file
    clips: list[dict[str, Any]] | None = None  # those that the list gives, as GIVEN_CLIP: no transcript is asked for
    caption_model: str | None = None  # who wrote their captions
    clap_model: str | None = None  # who measured their scores
    over_clip_max: str | None = None  # keep, split, drop: for clips that are as long as the file, which the plan reads

    @property
    def source_id(self) -> str:
        return source_id_of(self.source_key)


#: A clip that a list gives. `end_ms` null: to the end of the file.
GIVEN_CLIP = pa.struct(
    [
        pa.field("start_ms", pa.int64()),
        pa.field("end_ms", pa.int64()),
        pa.field("caption", pa.string()),
        pa.field("clap_score", pa.float32()),
    ]
)

ENTRIES = pa.schema(
    [pa.field(f.name, pa.list_(GIVEN_CLIP) if f.name == "clips" else pa.string()) for f in fields(SourceEntry)]
)


def to_table(entries: Iterable[SourceEntry]) -> pa.Table:
    """Entries as `plan/inputs` keeps them."""
    rows = [vars(entry) for entry in entries]
    return pa.Table.from_pylist(rows, schema=ENTRIES)


def from_table(table: pa.Table) -> list[SourceEntry]:
    """The entries of a part, also of one that was listed before entries could have clips."""
    return [SourceEntry(**row) for row in table.to_pylist()]


def source_id_of(source_key: str) -> str:
    """A YouTube id as it is; for anything else `x` and 20 hex digits of the key's SHA-256."""
    if YOUTUBE_ID.fullmatch(source_key):
        return source_key
    return "x" + hashlib.sha256(source_key.encode()).hexdigest()[:20]


def canonical(text: str) -> tuple[str, str]:
    """(source_key, URL to extract) of a listed id or URL.

    All the ways to write a YouTube video give its id. Another URL keeps its query but not its fragment.
    What is neither comes back as it is: the plan records it as a source that cannot be had.
    """
    text = text.strip()
    video_id = text if YOUTUBE_ID.fullmatch(text) else youtube_id(text)
    if video_id:
        return video_id, f"https://www.youtube.com/watch?v={video_id}"
    try:
        parts = urlsplit(text)
    except ValueError:
        return text, text
    if parts.scheme.lower() not in {"http", "https"}:
        return text, text
    url = urlunsplit((parts.scheme.lower(), parts.netloc.lower(), parts.path or "/", parts.query, ""))
    return url, url


def youtube_id(url: str) -> str | None:
    """The video's id if this is one of the URLs of a YouTube video."""
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        host = (parts.hostname or "").lower()
    except ValueError:
        return None
    host = re.sub(r"^(?:www|m|music)\.", "", host)
    candidate = ""
    if host == "youtu.be":
        candidate = parts.path.strip("/").split("/")[0]
    elif host in _YOUTUBE_HOSTS and parts.path.rstrip("/") == "/watch":
        candidate = parse_qs(parts.query).get("v", [""])[0]
    elif host in _YOUTUBE_HOSTS and (found := _YOUTUBE_PATH.match(parts.path)):
        candidate = found.group(1)
    return candidate if YOUTUBE_ID.fullmatch(candidate) else None
