"""The caller's side of the governor (stages/governor.py): wait for a turn, ask as its session, say how it ended.

    turns = Turns(governor, rules)
    turn = turns.take(url)                  # sleeps; raises SiteShut, or Fault where the recipe wants that
    with turns.reported(turn, url):         # a Fault that leaves the block is reported, and so is success
        ...                                 # ask for `url` as turn.session

One call of the governor for a turn, and one more where the wait was long (a pause may have begun meanwhile).
"""

from __future__ import annotations

import hashlib
import ipaddress
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from stages.faults import Fault
from stages.gate import Rules
from stages.governor import Asked, Turn

#: A turn that was waited for longer than this is asked for again before it is used.
SURE_S = 1.0
#: What a fault says of the session, in the words of stages/gate.py; of all other reasons the site has answered us.
KINDS = {
    "blocked": "blocked",
    "http_429": "http_429",
    "http_5xx": "http_5xx",
    **dict.fromkeys(["timeout", "network", "truncated"], "network"),
    **dict.fromkeys(["too_slow", "tls", "transcript_empty", "extractor_failed"], "refused"),
}
#: No name of a host is longer.
MAX_HOST = 253
#: Second-level names that belong to a country's registry: bbc.co.uk is a site, co.uk is none.
REGISTRY_NAMES = frozenset({"ac", "co", "com", "edu", "gob", "gov", "net", "ne", "or", "org"})


class SiteShut(Exception):
    """A site lets no session of the recipe in: the unit (or the plan) is left for another day, nothing is marked."""


class Turns:
    """A recipe's turns. `when_shut` is `stop` (SiteShut is raised) or `fail` (the source fails as `blocked`)."""

    def __init__(self, governor: Asked, rules: Rules, *, when_shut: str = "stop") -> None:
        self._governor = governor
        self._rules = rules
        self._names = {name for name, _ in rules.sessions}
        self._when_shut = when_shut

    def take(self, url: str, *, session: str | None = None, bound: bool = False, leads_to: str = "") -> Turn:
        """Wait for a turn to ask for `url`. It must be reported.

        session: the one that found this address, where there are several. While it pauses another one goes, unless the
            address is `bound` to its finder, as media are: then it is a Fault, `blocked`, which means, extract again.
        leads_to: the site that will be asked next, as the same session.
        """
        return self._wait(site_of(url), session if session in self._names else None, bound, leads_to)

    @contextmanager
    def reported(self, turn: Turn, url: str, *, planned: bool = False) -> Iterator[None]:
        """Report how the block ends. A `planned` address that is refused may only be old: nobody's fault."""
        kind, retry_after_s = "refused", None  # also where a bug of ours ends the block
        try:
            yield
            kind = "ok"
        except Fault as fault:
            kind, retry_after_s = KINDS.get(fault.reason, "ok"), fault.retry_after_s
            if planned and kind == "blocked":
                kind = "refused"
            raise
        finally:
            source = hashlib.blake2b(url.encode(), digest_size=8).hexdigest()
            self._governor.report(self._rules, turn, kind, source, retry_after_s)

    def _wait(self, site: str, session: str | None, bound: bool, leads_to: str) -> Turn:
        kept: Turn | None = None
        while True:
            turn = self._governor.ask(self._rules, site, session, kept, leads_to)
            if turn.shut:
                raise self._shut(turn)
            if turn.session and turn == kept:
                return turn
            if session and turn.paused and not turn.session and len(self._names) > 1:
                if bound:
                    raise Fault("blocked", "the session that found the address pauses")
                session = None
                continue
            # Not all at the same moment: who waits for the end of a pause need not come as a crowd.
            time.sleep(turn.wait_s if turn.session else turn.wait_s * random.uniform(1.0, 1.1))
            if turn.session and turn.wait_s <= SURE_S:
                return turn
            kept = turn if turn.session else None

    def _shut(self, turn: Turn) -> Exception:
        if self._when_shut == "fail":
            return Fault("blocked", "the site lets no session in")
        return SiteShut(turn.shut)


def site_of(url: str) -> str:
    """Whose ceiling a request counts for: `youtube.com` for all its hosts; an address, or another port, by itself.

    URLs may be a page's: of one that is none, the request itself will say so.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")[-MAX_HOST:]
        port = f":{parts.port}" if parts.port not in (None, 80, 443) else ""
    except ValueError:
        return "(no site)"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        labels = host.split(".")
        country = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in REGISTRY_NAMES
        host = ".".join(labels[-3 if country else -2 :])
    return host + port
