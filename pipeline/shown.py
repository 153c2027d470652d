"""Text that strangers wrote (titles, captions, file names), made fit to be shown: one line, nothing that steers.

A title may hold escape sequences that move a terminal's cursor, or marks that turn the reading direction of what
stands behind it. HTML is escaped by the templates; this is about what escaping leaves.
"""

from __future__ import annotations

from urllib.parse import urlsplit

#: Joiners: they write Persian, Hindi and emoji, and steer nothing.
_JOINERS = "\u200c\u200d"


def one_line(text: str | None, limit: int | None = None) -> str:
    """Printable characters only, white space as single spaces, cut to `limit` characters with a mark."""
    line = " ".join("".join(c if c.isprintable() or c in _JOINERS else " " for c in text or "").split())
    return line if limit is None or len(line) <= limit else line[: limit - 1].rstrip() + "…"


def web_address(url: str | None) -> str | None:
    """The address if it is one of the web; None for `javascript:`, `data:`, `file:` and whatever is no address."""
    if url is None or not url.isprintable() or any(c.isspace() for c in url):
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and host else None


def clock(milliseconds: int) -> str:
    """`1:02.5` or `1:00:02.5`: a place on a recording's time line."""
    tenths = (milliseconds + 50) // 100
    seconds, tenth = divmod(tenths, 10)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}.{tenth}" if hours else f"{minute}:{second:02d}.{tenth}"
