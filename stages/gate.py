"""How one session stands with one site: its turns, its pauses, and what came of its requests.

| what came back | what follows for this session at this site |
|---|---|
| an answer, also `gone` or `private` | all is well: streaks are forgotten, a quarantine ends |
| `http_429` | a pause, `backoff_s` doubled each time in a row; `Retry-After` where that is longer |
| `blocked` (403, bot check) | a pause, `cool_down_s` doubled each time in a row |
| `http_5xx`, `network` | nothing at first; from GRACE sources in a row on a pause as for 429; `Retry-After` counts |
| `refused` | nothing: an old address, or a page that says little of us |

After `blocks_to_quarantine` blocks in a row the session is in quarantine here: out for `quarantine_s`, then tried with
one request, and out for twice as long if that is blocked too. RATE_PER_BLOCK answers of 429 in a row weigh as a block.

One odd video must not lock a session out: the same source blocked again, or failing again, adds nothing to a streak.
And what was asked before a pause began says nothing new: such answers are counted, and that is all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

#: Faults of the network or the server in a row, of different sources, before the session pauses.
GRACE = 3
#: So many answers of 429 in a row weigh as one block.
RATE_PER_BLOCK = 3
#: No server's `Retry-After` holds longer than a week.
MAX_RETRY_AFTER_S = 604_800.0
#: Kinds of outcome that are the site's word against the session.
AGAINST = frozenset({"http_429", "blocked"})


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the recipe says of turns and pauses. It travels with each question: the governor itself knows no recipe."""

    sessions: tuple[tuple[str, float], ...] = (("default", 1.0),)  # name, requests per second to one site
    site_requests_per_s: float | None = None  # of all sessions together to one site; None = no further ceiling
    backoff_s: float = 2.0
    backoff_max_s: float = 600.0
    cool_down_s: float = 60.0
    blocks_to_quarantine: int = 3
    quarantine_s: float = 3600.0
    quarantine_max_s: float = 86_400.0
    max_wait_s: float = 21_600.0
    request_limit_s: float = 300.0

    def rate(self, session: str) -> float:
        return dict(self.sessions)[session]


@dataclass
class Gate:
    """Times are those of the governor's clock, in seconds."""

    next_s: float = 0.0
    paused_until_s: float = 0.0
    why: str = ""
    refused_since_s: float | None = None  # since when the site has said nothing good to this session
    epoch: int = 0  # grows with each pause: a turn of an earlier epoch is void
    streak: Counter[str] = field(default_factory=Counter)
    last_source: str = ""
    quarantines: int = 0
    probe_until_s: float = 0.0  # one request is on its way to end the quarantine
    booked: int = 0
    waited_s: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)

    def opens_s(self) -> float:
        """Not before this is it let in."""
        return max(self.paused_until_s, self.probe_until_s if self.quarantines else 0.0)

    def turn_s(self) -> float:
        return max(self.opens_s(), self.next_s)

    def state(self, now_s: float) -> str:
        if self.quarantines:
            return "quarantined" if now_s < self.paused_until_s else "on trial"
        return "cooling down" if now_s < self.paused_until_s else "open"

    def heard(
        self, rules: Rules, now_s: float, epoch: int, kind: str, source: str, retry_after_s: float | None
    ) -> bool:
        """Take in how a request of `epoch` ended; True where it began a pause."""
        self.outcomes[kind] += 1
        if epoch != self.epoch:
            return False
        self.probe_until_s = 0.0
        if kind == "ok":
            self.streak.clear()
            self.last_source, self.quarantines, self.refused_since_s = "", 0, None
        if kind in ("ok", "refused"):
            return False
        pause_s = max(self._pause_s(rules, kind, source), min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))
        if pause_s <= 0:
            return False
        if kind in AGAINST and self.refused_since_s is None:
            self.refused_since_s = now_s
        self.epoch += 1
        self.paused_until_s, self.why, self.next_s = now_s + pause_s, kind, 0.0
        return True

    def _pause_s(self, rules: Rules, kind: str, source: str) -> float:
        if self.quarantines:  # this was the one request that it was tried with
            if kind not in AGAINST:
                return rules.cool_down_s
            self.quarantines += 1
            return self._quarantine_s(rules)
        again, self.last_source = source == self.last_source and source != "", source
        if again and kind != "http_429":
            return 0.0
        self.streak[kind] += 1
        blocks = self.streak["blocked"] + self.streak["http_429"] // RATE_PER_BLOCK
        if kind in AGAINST and blocks >= rules.blocks_to_quarantine:
            self.quarantines = 1
            return self._quarantine_s(rules)
        if kind == "blocked":
            return doubled(rules.cool_down_s, self.streak[kind], rules.quarantine_s)
        if kind == "http_429":
            return doubled(rules.backoff_s, self.streak[kind], rules.backoff_max_s)
        behind = self.streak[kind] - GRACE
        return doubled(rules.backoff_s, behind + 1, rules.backoff_max_s) if behind >= 0 else 0.0

    def _quarantine_s(self, rules: Rules) -> float:
        return doubled(rules.quarantine_s, self.quarantines, rules.quarantine_max_s)

    def as_dict(self, now_s: float) -> dict[str, Any]:
        """For a person or a gauge; `seconds_left` of a pause."""
        return {
            "state": self.state(now_s),
            "why": self.why if self.state(now_s) != "open" else "",
            "seconds_left": max(0.0, self.paused_until_s - now_s),
            "waited_s": self.waited_s,
            "outcomes": dict(sorted(self.outcomes.items())),
        }


def doubled(first_s: float, times: int, ceiling_s: float) -> float:
    """`first_s` the first time, twice that the second, and so on up to `ceiling_s`."""
    return min(first_s * 2.0 ** min(times - 1, 60), ceiling_s)
