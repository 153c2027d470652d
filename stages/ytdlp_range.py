"""A few bytes of a file at a site: one request with a Range header, and what its answer is good for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stages.faults import Fault
from stages.media import Address
from stages.partial import Told
from stages.ranged_fetch import RangeAnswer

if TYPE_CHECKING:
    from yt_dlp import YoutubeDL

_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")
_NOT_SATISFIABLE = 416


def read_range(ydl: YoutubeDL, address: Address, first: int, last: int) -> RangeAnswer:
    """The bytes [first, last], or an answer without `told` from a site that gives no ranges. One try.

    Raises what yt-dlp raises, and Fault. A site that sends the whole file instead is hung up on.
    """
    from yt_dlp.networking import Request
    from yt_dlp.networking.exceptions import HTTPError

    headers = {name: value for name, value in address.http_headers.items() if name.lower() != "range"}
    headers |= {"Accept-Encoding": "identity", "Range": f"bytes={first}-{last}"}
    try:
        answer = ydl.urlopen(Request(address.url, headers=headers))
    except HTTPError as error:
        if error.status == _NOT_SATISFIABLE:
            return RangeAnswer(first=first, body=b"", told=None)
        raise
    with answer:
        placed = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range") or "")
        if answer.status != 206 or placed is None or answer.headers.get("Content-Encoding") not in (None, "identity"):
            return RangeAnswer(first=first, body=b"", told=None)
        start, end, size = (int(number) for number in placed.groups())
        body = answer.read(min(end, last) + 1 - start) if first <= start <= min(end, last) else b""
        told = Told(size_bytes=size, etag=answer.headers.get("ETag"), last_modified=answer.headers.get("Last-Modified"))
    if start <= end and len(body) < min(end, last) + 1 - start:
        raise Fault("truncated", "the body was shorter than announced")
    return RangeAnswer(first=start, body=body, told=told)
