"""Who may ask which site, when, and as whom: one governor for all that fetch, so that a site's ceiling holds for all.

    governor = Governor()
    turn = governor.ask(rules, "youtube.com")       # Turn(session="guest", wait_s=3.2): wait, then ask as "guest"
    governor.report(rules, turn, "http_429", retry_after_s=30)

On a cluster it lives in one named actor (pipeline/governor_actor.py); on one machine without Ray, the threads that plan
share the plain object. Its callers wait by themselves (stages/turns.py): a call here never sleeps.

A session is one way to look to a site (cookies, proxy, user agent). Each has a bucket of one token per site, since what
sites bear is an even pace; a site may have a ceiling for all sessions together. How pauses and quarantines come and go
is in stages/gate.py. Other sessions take over the work of one that pauses. Where every session of the recipe has been
out for `max_wait_s`, or will be for longer than that, the site is shut: the answer says so, and nobody waits for ever.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from stages.gate import AGAINST, Gate, Rules

#: Turns are given away so far ahead, and no further: those of callers that have died meanwhile are lost.
BOOK_AHEAD_S = 5.0
#: Who cannot be given a turn yet comes back after this at the latest: the site may be open again.
COME_BACK_S = 30.0
#: Time for a probe's answer to reach us, beyond the limit of a request.
PROBE_MARGIN_S = 60.0
#: Sites that are remembered; of those beyond, the ones not asked for longest are forgotten.
MAX_SITES = 10_000
#: Sites that a snapshot tells of, beside those that let somebody not in.
MAX_TOLD = 50


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Wait `wait_s`, then ask the site as `session`; without a session wait and come back for a turn.

    `shut`: why nobody is let in and nobody should wait for it; then there is no turn. `paused`: it is not the pace that
    one waits for, but the end of a pause.
    """

    site: str
    session: str = ""
    wait_s: float = 0.0
    epoch: int = 0
    paused: bool = False
    shut: str = ""


class Asked(Protocol):
    """The governor, or what stands for it in this process."""

    def ask(
        self, rules: Rules, site: str, session: str | None = None, kept: Turn | None = None, leads_to: str = ""
    ) -> Turn: ...

    def report(
        self, rules: Rules, turn: Turn, kind: str, source: str = "", retry_after_s: float | None = None
    ) -> None: ...


@dataclass
class _Site:
    next_s: float = 0.0
    gates: dict[str, Gate] = field(default_factory=dict)

    def gate(self, session: str) -> Gate:
        return self.gates.setdefault(session, Gate())


class Governor:
    """Safe to share between threads. `clock` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sites: OrderedDict[str, _Site] = OrderedDict()

    def ask(
        self, rules: Rules, site: str, session: str | None = None, kept: Turn | None = None, leads_to: str = ""
    ) -> Turn:
        """A turn at `site`, as `session` if that is named, else as whichever may go first.

        `kept`: a turn that has been waited for; it comes back as it is, unless a pause has begun meanwhile.
        `leads_to`: the site that will be asked next, as the same session: who pauses there is passed over, if possible.
        """
        with self._lock:
            now_s = self._clock()
            place = self._place(site)
            if kept is not None and place.gate(kept.session).epoch == kept.epoch:
                return kept
            gates = {name: place.gate(name) for name, _ in rules.sessions}
            if shut := _shut(rules, site, gates, now_s):
                return Turn(site=site, shut=shut)
            names = [session] if session else list(gates)
            if leads_to and not session:
                there = self._place(leads_to)
                names = [name for name in names if there.gate(name).opens_s() <= now_s] or names
            name = min(names, key=lambda n: (max(gates[n].turn_s(), now_s), gates[n].booked))
            return self._book(rules, place, Turn(site=site, session=name), now_s)

    def _book(self, rules: Rules, place: _Site, turn: Turn, now_s: float) -> Turn:
        gate = place.gate(turn.session)
        interval_s = 1.0 / rules.rate(turn.session)
        wait_s = max(gate.turn_s(), place.next_s, now_s) - now_s
        paused = gate.opens_s() > now_s
        ahead_s = 0.0 if gate.quarantines else max(BOOK_AHEAD_S, 2 * interval_s)
        if wait_s > ahead_s:
            return Turn(site=turn.site, wait_s=min(wait_s - ahead_s / 2, COME_BACK_S), paused=paused)
        if gate.quarantines:
            gate.probe_until_s = now_s + rules.request_limit_s + PROBE_MARGIN_S
        gate.next_s = now_s + wait_s + interval_s
        if rules.site_requests_per_s:
            place.next_s = now_s + wait_s + 1.0 / rules.site_requests_per_s
        gate.booked += 1
        gate.waited_s += wait_s
        return Turn(site=turn.site, session=turn.session, wait_s=wait_s, epoch=gate.epoch, paused=paused)

    def report(self, rules: Rules, turn: Turn, kind: str, source: str = "", retry_after_s: float | None = None) -> None:
        """How a turn's request ended: `kind` is a word of stages/gate.py, `source` tells one source from another."""
        with self._lock:
            gate = self._place(turn.site).gate(turn.session)
            gate.heard(rules, self._clock(), turn.epoch, kind, source, retry_after_s)

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """By site: `requests`, `outcomes`, and per session its state, seconds left of a pause, waits and outcomes."""
        with self._lock:
            now_s = self._clock()
            told = {site: _told(place, now_s) for site, place in self._sites.items()}
        ranked = sorted(told, key=lambda site: -told[site]["requests"])
        keep = {*ranked[:MAX_TOLD], *(site for site in ranked if not told[site]["open"])}
        return {site: told[site] for site in sorted(keep)}

    def _place(self, site: str) -> _Site:
        place = self._sites.pop(site, None) or _Site()
        self._sites[site] = place
        if len(self._sites) > MAX_SITES:
            self._sites.popitem(last=False)
        return place


def _shut(rules: Rules, site: str, gates: Mapping[str, Gate], now_s: float) -> str:
    """Why the site is shut to all these sessions, or nothing."""
    # Whose pause is over is let in, or is being tried with a request: how that ends is worth waiting for.
    if any(gate.paused_until_s <= now_s or gate.why not in AGAINST for gate in gates.values()):
        return ""
    since_s = max(now_s if gate.refused_since_s is None else gate.refused_since_s for gate in gates.values())
    opens_s = min(gate.opens_s() for gate in gates.values())
    if opens_s - since_s <= rules.max_wait_s:
        return ""
    told = ", ".join(f"{name} {gate.state(now_s)} ({gate.why})" for name, gate in sorted(gates.items()))
    return (
        f"{site} has let nobody in for {now_s - since_s:.0f} s and will not for {opens_s - now_s:.0f} s more, "
        f"which is beyond ytdlp.max_wait_s ({rules.max_wait_s:g}): {told}"
    )


def _told(place: _Site, now_s: float) -> dict[str, Any]:
    sessions = {name: gate.as_dict(now_s) for name, gate in sorted(place.gates.items())}
    outcomes: Counter[str] = Counter()
    for gate in place.gates.values():
        outcomes.update(gate.outcomes)
    return {
        "requests": outcomes.total(),
        "open": all(told["state"] == "open" for told in sessions.values()),
        "outcomes": dict(sorted(outcomes.items())),
        "sessions": sessions,
    }


#: The governor of a process that belongs to no cluster.
LOCAL = Governor()
