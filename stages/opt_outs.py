"""What a site says in its answers' headers about machines that learn from it, and whether it speaks to us.

    X-Robots-Tag: noai                        to everyone
    X-Robots-Tag: autorecap: noai, noindex    to us; `otherbot: noai` is to another
    tdm-reservation: 1                        rights of text and data mining are reserved (W3C's TDMRep)

The recipe's `ytdlp.respect_opt_outs` lists the words that count. They are looked for in the answer that is the
source's page, before it is planned, and in the answers that are its media. A transcript's or an API's own headers say
nothing of the media: most such answers are `noindex`, to keep them out of search results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

from stages.faults import Fault

OptOut = Literal["noai", "noimageai", "noindex", "noimageindex", "tdm-reservation"]
#: What recipes honour unless they say otherwise.
DEFAULT: tuple[OptOut, ...] = ("noai", "noimageai", "noindex", "tdm-reservation")
#: Our name in `X-Robots-Tag`; that of the recipe's `user_agent` is ours too.
AGENT = "autorecap"
#: Directives that have a value: what stands before their colon is no robot's name.
_VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_MEANS = {"none": {"noindex", "nofollow"}}
#: Answers of one extraction that are looked at; pages of sense need a few.
_MOST_ANSWERS = 64


class OptOuts:
    """Sees every answer of a session; told when one counts. For one thread at a time."""

    def __init__(self, respected: Sequence[str], user_agent: str | None = None) -> None:
        self._respected = frozenset(respected)
        own = (user_agent or "").partition("/")[0].strip().lower()
        self._agents = frozenset({AGENT, own} - {""})
        self._pages: dict[tuple[str, str], str] = {}
        self._is_media = False

    def see(self, asked: str, answered: str, headers: Mapping[str, Any]) -> None:
        """An answer to `asked` that came, after redirects, from `answered`. Fault where it is media that is closed."""
        word = self.said(headers)
        if word and self._is_media:
            raise _opted_out(word, "media")
        if word and len(self._pages) < _MOST_ANSWERS:
            self._pages |= {_place(asked): word, _place(answered): word}

    @contextmanager
    def media(self) -> Iterator[None]:
        """Answers are media while this lasts."""
        self._is_media = True
        try:
            yield
        finally:
            self._is_media = False

    def forget_pages(self) -> None:
        """A new extraction begins."""
        self._pages.clear()

    def check_page(self, *urls: Any) -> None:
        """Fault where an answer since `forget_pages` was one of these pages, and opts out."""
        for url in urls:
            if isinstance(url, str) and (word := self._pages.get(_place(url))):
                raise _opted_out(word, "page")

    def said(self, headers: Mapping[str, Any]) -> str | None:
        """The first word that these headers say, that is meant for us and that the recipe honours."""
        reserved = str(headers.get("tdm-reservation") or "").strip() == "1"
        if reserved and "tdm-reservation" in self._respected:
            return "tdm-reservation"
        get_all = getattr(headers, "get_all", None)
        values = get_all("X-Robots-Tag", []) if get_all else [headers.get("X-Robots-Tag") or ""]
        for value in values:
            for word in self._directives(str(value).lower()):
                if word in self._respected:
                    return word
        return None

    def _directives(self, value: str) -> Iterator[str]:
        """The words of one header that are not for another robot; a robot's name holds for what follows it."""
        for_us = True
        for item in value.split(","):
            name, colon, rest = item.partition(":")
            if colon and name.strip() not in _VALUED:
                for_us, item = name.strip() in self._agents, rest
            if for_us:
                yield from _MEANS.get(item.strip(), {item.strip()})


def _opted_out(word: str, what: str) -> Fault:
    return Fault("opted_out", f"the {what}'s headers say {word}")


def _place(url: str) -> tuple[str, str]:
    """Host and path: extractors add queries of their own to a page's address."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.path.rstrip("/")
    except ValueError:
        return "", url
