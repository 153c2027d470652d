"""Why a source cannot be had, as one short fixed word: the words, and how an exception becomes one.

| reason | transient | tried again at once | what happened |
|---|---|---|---|
| `gone` | no | no | 404, 410, removed, closed account, no such file |
| `private` | no | no | private, members only, paid, login wanted (401, 402) |
| `age_restricted` | no | no | the site wants the viewer's age confirmed |
| `geo_blocked` | no | no | not shown in this country, or withheld by law (451) |
| `drm` | no | no | encrypted |
| `live` | no | no | a stream that has not ended, or a premiere that has not begun |
| `playlist` | no | no | the address holds several videos: list them one by one |
| `unsupported` | no | no | no extractor knows the address, or its media need a program that is not here |
| `no_audio` | no | no | no format, or no stream, with sound |
| `undecodable` | no | no | a local file that is no media |
| `unreadable` | no | no | a local file that may not be read |
| `empty_file` | no | no | zero bytes |
| `too_large`, `too_long` | no | no | beyond the limits of the recipe, or of sense |
| `transcript_broken` | no | no | listed, but cannot be read: taking it for silence would be wrong |
| `sidecar_broken` | no | no | the file's `<stem>.json` is not what it should be |
| `refused_address` | no | no | an address inside our own network, or a page's own proxy (stages/guard.py) |
| `opted_out` | no | no | the page's or the media's headers ask machines to stay away (stages/opt_outs.py): no failure |
| `http_other` | no | no | another 4xx answer |
| `blocked` | yes | no | 403, a bot check, a captcha: the video may be alive |
| `http_429` | yes | yes | too many requests; `Retry-After` is honoured |
| `http_5xx` | yes | yes | the server's own fault |
| `timeout` | yes | yes | no answer in time |
| `network` | yes | yes | refused, reset, no such host, proxy trouble |
| `truncated` | yes | yes | fewer bytes than announced |
| `too_slow` | yes | no | still not done after the longest time a download may take |
| `tls` | yes | no | a certificate that cannot be trusted |
| `missing_bytes` | yes | no | of media fetched by ranges, bytes that a clip needs are not there, or damaged on disk |
| `transcript_empty` | yes | no | a listed transcript came without a byte, as to callers a site distrusts |
| `extractor_failed` | yes | no | yt-dlp did not understand the page: it may be out of date |

A block is never taken for a dead video: only an answer that says so makes a source `gone`.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

MAX_DETAIL = 300


class Rule(NamedTuple):
    transient: bool  # worth another attempt some other day
    again: bool  # worth another attempt within this one


_DEAD, _LATER, _AGAIN = Rule(False, False), Rule(True, False), Rule(True, True)

RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ["gone", "private", "age_restricted", "geo_blocked", "drm", "live", "playlist", "unsupported"], _DEAD
    ),
    **dict.fromkeys(["no_audio", "undecodable", "unreadable", "empty_file", "too_large", "too_long"], _DEAD),
    **dict.fromkeys(["transcript_broken", "sidecar_broken", "refused_address", "opted_out", "http_other"], _DEAD),
    **dict.fromkeys(["blocked", "too_slow", "tls", "missing_bytes", "transcript_empty", "extractor_failed"], _LATER),
    **dict.fromkeys(["http_429", "http_5xx", "timeout", "network", "truncated"], _AGAIN),
}


class Fault(Exception):
    """A source that cannot be had: its reason and one sentence for a person."""

    def __init__(self, reason: str, detail: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.transient, self.again = RULES[reason]
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.reason, self.detail, self.retry_after_s)


def _rebuild(reason: str, detail: str, retry_after_s: float | None) -> Fault:
    return Fault(reason, detail, retry_after_s=retry_after_s)


def classify(error: BaseException) -> Fault:
    """What a yt-dlp, HTTP or network exception means. Looks through the whole chain of causes."""
    said = _by_text(str(error))
    if said and said.reason == "blocked":
        return said  # before any status: a 404 met on the way to a bot check does not make the video dead
    chain = list(_chain(error))
    for look in (_known, _by_type, _by_status, _by_certificate, _by_time, _by_network):
        for link in chain:
            if fault := look(link):
                return fault
    return said or Fault("extractor_failed", sentence(str(error)) or type(error).__name__)


def classify_file(error: OSError, what: str, *, remote: bool = False) -> Fault:
    """What it means that `what`, a file or object of a folder source, could not be read.

    Of a remote store any other error is taken for the network's. On this machine it is no fault of the source (a
    failing disk): it is raised again as it is.
    """
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return Fault("gone", f"{what} is not there")
    if isinstance(error, (PermissionError, IsADirectoryError)):
        return Fault("unreadable", f"{what} cannot be read")
    if isinstance(error, TimeoutError):
        return Fault("timeout", f"{what} was not answered for in time")
    if remote or isinstance(error, ConnectionError):
        return Fault("network", f"the connection to {what} failed")
    raise error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and everything that led to it, nearest first. yt-dlp keeps causes in several places."""
    queue, seen = [error], set[int]()
    while queue and len(seen) < 50:
        link = queue.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        kept = getattr(link, "exc_info", None)
        nearby = [
            getattr(link, "cause", None),
            getattr(link, "reason", None),
            kept[1] if isinstance(kept, tuple) and len(kept) == 3 else None,
            link.__cause__,
            link.__context__,
        ]
        queue.extend(item for item in nearby if isinstance(item, BaseException))


def _known(link: BaseException) -> Fault | None:
    return link if isinstance(link, Fault) else None


def _by_type(link: BaseException) -> Fault | None:
    """Exceptions that yt-dlp has made for one meaning; by name, so that yt-dlp need not be imported here."""
    names = _names(link)
    if "GeoRestrictedError" in names:
        return Fault("geo_blocked", sentence(str(link)))
    if "UserNotLive" in names:
        return Fault("live", "the channel is not live now")
    if names & {"UnsupportedError", "UnsupportedRequest", "NoSupportingHandlers"}:
        return Fault("unsupported", "no extractor or handler knows this address")
    if names & {"ContentTooShortError", "IncompleteRead"} or isinstance(link, http.client.IncompleteRead):
        return Fault("truncated", "the body was shorter than announced")
    return None


def _by_status(link: BaseException) -> Fault | None:
    status = getattr(link, "status", None) or getattr(link, "code", None)
    if not isinstance(status, int) or not 300 <= status <= 599:
        return None
    response = getattr(link, "response", link)
    return from_status(status, _retry_after_s(getattr(response, "headers", None)))


def from_status(status: int, retry_after_s: float | None = None) -> Fault:
    """What an HTTP status that is no success means."""
    reasons = {401: "private", 402: "private", 403: "blocked", 404: "gone", 410: "gone", 451: "geo_blocked"}
    reasons |= {407: "network", 408: "timeout", 425: "http_429", 429: "http_429"}
    reason = reasons.get(status) or ("http_5xx" if status >= 500 else "http_other")
    return Fault(reason, f"the server answered {status}", retry_after_s=retry_after_s)


def _retry_after_s(headers: Any) -> float | None:
    """`Retry-After` in seconds: a number, or a date that is held against the server's own clock."""
    value = headers.get("Retry-After") if hasattr(headers, "get") else None
    if not isinstance(value, str):
        return None
    if re.fullmatch(r"\s*\d{1,9}\s*", value):
        return float(value)
    until = _date(value)
    now = _date(headers.get("Date")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds()) if until else None


def _date(value: Any) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _names(link: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(link).__mro__}


def _by_certificate(link: BaseException) -> Fault | None:
    broke_off = isinstance(link, ssl.SSLEOFError) or "EOF occurred" in str(link)
    if broke_off or not (isinstance(link, ssl.SSLError) or _names(link) & {"SSLError", "CertificateVerifyError"}):
        return None
    return Fault("tls", "the server's certificate or encryption cannot be trusted")


def _by_time(link: BaseException) -> Fault | None:
    late = "TransportError" in _names(link) and "timed out" in str(link).lower()
    if late or isinstance(link, TimeoutError) or "Timeout" in _names(link):
        return Fault("timeout", "no answer in time")
    return None


def _by_network(link: BaseException) -> Fault | None:
    broken = isinstance(link, (ConnectionError, socket.gaierror, ssl.SSLError))
    if broken or _names(link) & {"TransportError", "URLError"}:
        return Fault("network", "the connection could not be made or broke")
    return None


#: What sites and yt-dlp say; the first match wins. A bot check speaks of signing in: it comes first.
_SAYINGS: tuple[tuple[str, str], ...] = (
    (r"not a bot|captcha|unusual traffic|anti-bot|bot check|cloudflare", "blocked"),
    (r"too many requests|rate.?limit", "http_429"),
    (r"confirm your age|age.?restricted|inappropriate for some users", "age_restricted"),
    (r"not (?:made )?(?:this video )?available in your (?:country|location|region)", "geo_blocked"),
    (r"geo.?restrict|blocked it in your country|blocked it on copyright", "geo_blocked"),
    (r"\bdrm\b", "drm"),
    (r"private video|video is private|members.only|available to this channel's members", "private"),
    (r"requires payment|purchase|premium|log ?in|sign in|registered users|account credentials", "private"),
    (r"premieres in|will begin in|live event|not yet live|is offline|recording is not available", "live"),
    (r"video (?:is |has been )?(?:unavailable|removed|deleted)|no longer available|does not exist", "gone"),
    (r"account .{0,60}(?:terminated|closed)|has been (?:removed|deleted)|video not found", "gone"),
    (r"ffmpeg could not be found", "unsupported"),
    (r"unsupported url|is not a valid url|file:// urls are disabled|no suitable extractor", "unsupported"),
    (r"did not get any data blocks", "empty_file"),
    (r"file is larger than max-filesize", "too_large"),
    (r"requested format is not available", "no_audio"),
    (r"timed out", "timeout"),
    (r"bytes read, \d+ more expected", "truncated"),
)


#: Where the message counts bytes or seconds, which differ from one try to the next: a row must not.
_SAID_ALIKE = {"truncated": "the body was shorter than announced", "timeout": "no answer in time"}


def _by_text(text: str) -> Fault | None:
    if status := re.search(r"HTTP Error (\d{3})\b", text):
        return from_status(int(status.group(1)))
    for pattern, reason in _SAYINGS:
        if re.search(pattern, text, re.IGNORECASE):
            return Fault(reason, _SAID_ALIKE.get(reason) or sentence(text))
    return None


def sentence(text: str) -> str:
    """A message as one clean line: no colours or other control characters, no boilerplate, nothing that differs between
    runs. Pages' own words may be in it."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = "".join(char if char.isprintable() else " " for char in text)
    text = text.removeprefix("ERROR:").strip()
    text = re.split(r"[;.]? ?[Pp]lease report this issue on|\(caused by ", text)[0]
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", text)
    return " ".join(text.split())[:MAX_DETAIL]
