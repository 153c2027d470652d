"""Turns, pauses and quarantine, on a clock that the test turns; and real threads at the end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace

import pytest

from stages.gate import Rules
from stages.governor import Governor, Turn
from stages.turns import site_of

SITE = "videos.example"
TWO = Rules(sessions=(("a", 1.0), ("b", 1.0)), cool_down_s=60, quarantine_s=3600, max_wait_s=10_000)
ONE = Rules(sessions=(("a", 1.0),), cool_down_s=60, quarantine_s=3600, max_wait_s=10_000)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Tried:
    """A governor with its clock; `go` waits for a turn as callers do, and reports."""

    def __init__(self, rules: Rules) -> None:
        self.clock = Clock()
        self.governor = Governor(self.clock)
        self.rules = rules

    def turn(self, session: str | None = None) -> Turn:
        kept = None
        for _ in range(100_000):
            turn = self.governor.ask(self.rules, SITE, session, kept)
            if turn.shut or (turn.session and turn == kept):
                return turn
            self.clock.now_s += turn.wait_s
            if turn.session and turn.wait_s == 0:
                return turn
            kept = turn if turn.session else None
        raise AssertionError("waited for ever")

    def go(self, kind: str, source: str = "", retry_after_s: float | None = None) -> Turn:
        turn = self.turn()
        self.governor.report(self.rules, turn, kind, source or f"{self.clock.now_s}{turn.session}", retry_after_s)
        return turn

    def waited_s(self) -> float:
        before_s = self.clock.now_s
        self.turn()
        return self.clock.now_s - before_s

    def state(self, session: str) -> str:
        return str(self.governor.snapshot()[SITE]["sessions"][session]["state"])


def test_turns_come_at_an_even_pace_per_session():
    one, two = Tried(ONE), Tried(TWO)
    for tried, seconds in ((one, 9), (two, 4)):
        began_s = tried.clock.now_s
        names = Counter(tried.go("ok").session for _ in range(10))
        assert tried.clock.now_s - began_s == pytest.approx(seconds)
        assert set(names.values()) == {10 // len(tried.rules.sessions)}


def test_a_site_may_have_a_ceiling_for_all_sessions_together():
    tried = Tried(Rules(sessions=(("a", 10.0), ("b", 10.0)), site_requests_per_s=0.5))
    began_s = tried.clock.now_s
    for _ in range(5):
        tried.go("ok")
    assert tried.clock.now_s - began_s == pytest.approx(8)


def test_429_pauses_as_retry_after_says_or_twice_as_long_each_time():
    tried = Tried(ONE)
    tried.go("http_429")
    assert tried.waited_s() == pytest.approx(2)
    tried.go("http_429")
    assert tried.waited_s() == pytest.approx(4)
    tried.go("http_429", retry_after_s=500)
    assert tried.waited_s() >= 499
    tried.go("ok")
    tried.go("http_429")
    assert tried.waited_s() == pytest.approx(2)


def test_the_other_session_works_while_one_cools_down():
    tried = Tried(TWO)
    first = tried.go("blocked")
    assert tried.state(first.session) == "cooling down"
    began_s = tried.clock.now_s
    names = {tried.go("ok").session for _ in range(20)}
    assert names == {"a", "b"} - {first.session}
    assert tried.clock.now_s - began_s <= 20
    tried.clock.now_s += 60
    assert first.session in {tried.go("ok").session for _ in range(3)}


def test_blocks_in_a_row_lead_to_quarantine_that_ends_with_one_good_request():
    tried = Tried(replace(ONE, max_wait_s=20_000))
    for at in range(3):
        tried.go("blocked", f"source {at}")
    assert tried.state("a") == "quarantined"
    blocked_s = tried.clock.now_s
    probe = tried.turn()
    assert tried.clock.now_s - blocked_s >= 3600
    other = tried.governor.ask(tried.rules, SITE)
    assert other.session == "", "only one request is tried"
    tried.governor.report(tried.rules, probe, "blocked", "source 4")
    blocked_s = tried.clock.now_s
    probe = tried.turn()
    assert tried.clock.now_s - blocked_s >= 7200
    tried.governor.report(tried.rules, probe, "ok", "source 5")
    assert tried.state("a") == "open"
    tried.go("blocked", "source 6")
    assert tried.state("a") == "cooling down"


def test_a_probe_that_never_answers_gives_way_to_another():
    tried = Tried(ONE)
    for at in range(3):
        tried.go("blocked", f"source {at}")
    tried.turn()
    began_s = tried.clock.now_s
    assert tried.turn().session == "a"
    assert 300 <= tried.clock.now_s - began_s < 500


def test_many_429_in_a_row_weigh_as_blocks():
    tried = Tried(ONE)
    for _ in range(9):
        tried.go("http_429")
    assert tried.state("a") == "quarantined"


def test_one_odd_source_locks_nobody_out():
    tried = Tried(ONE)
    tried.go("blocked", "odd")
    tried.go("ok", "fine")
    for _ in range(8):
        tried.go("blocked", "odd")
    assert tried.state("a") != "quarantined"
    for _ in range(8):
        tried.go("http_5xx", "broken")
    assert tried.waited_s() <= 61


def test_what_was_asked_before_a_pause_adds_nothing():
    tried = Tried(Rules(sessions=(("a", 1000.0),)))
    turns = [tried.turn() for _ in range(8)]
    for at, turn in enumerate(turns):
        tried.governor.report(tried.rules, turn, "blocked", f"source {at}")
    assert tried.state("a") == "cooling down"
    assert tried.waited_s() == pytest.approx(60, abs=1)


def test_a_turn_waited_for_is_void_when_a_pause_has_begun():
    tried = Tried(ONE)
    first, second = tried.governor.ask(ONE, SITE), tried.governor.ask(ONE, SITE)
    assert second.wait_s == pytest.approx(1)
    tried.governor.report(ONE, first, "blocked", "source")
    again = tried.governor.ask(ONE, SITE, None, second)
    assert again != second
    assert again.wait_s > 1


@pytest.mark.parametrize("kind", ["network", "http_5xx"])
def test_the_network_and_the_server_may_fail_twice_before_the_session_pauses(kind: str):
    tried = Tried(Rules(sessions=(("a", 100.0),), backoff_s=10, backoff_max_s=25))
    waits = []
    for at in range(6):
        tried.go(kind, f"source {at}")
        waits.append(round(tried.waited_s()))
    assert waits == [0, 0, 10, 20, 25, 25]


def test_a_refused_address_and_a_dead_video_say_nothing_against_the_session():
    tried = Tried(ONE)
    for at in range(9):
        tried.go("refused", f"source {at}")
    assert tried.state("a") == "open"


def test_a_site_that_lets_nobody_in_for_long_is_shut_and_says_who_is_where():
    tried = Tried(TWO)
    for at in range(100):
        turn = tried.turn()
        if turn.shut:
            break
        tried.governor.report(TWO, turn, "blocked", f"source {at}")
    assert 6 <= at < 20, "a handful of requests, not thousands"
    assert "a quarantined (blocked), b quarantined (blocked)" in turn.shut
    assert "max_wait_s (10000)" in turn.shut
    tried.clock.now_s += 20_000  # the next day somebody is let in again
    assert tried.go("ok").session
    assert not tried.turn().shut


def test_a_shut_site_is_not_shut_to_others_while_the_next_day_one_request_tries_it():
    tried = Tried(ONE)
    while not tried.turn().shut:
        tried.go("blocked")
    tried.clock.now_s += 100_000
    probe = tried.turn()
    other = tried.governor.ask(ONE, SITE)
    assert (other.shut, other.session) == ("", ""), "it waits for what comes of the probe"
    tried.governor.report(ONE, probe, "blocked", "another source")
    assert tried.turn().shut, "the site has let nobody in for a day: one request was enough to tell"


def test_a_retry_after_beyond_all_patience_shuts_the_site_at_once():
    tried = Tried(ONE)
    tried.go("http_429", retry_after_s=100_000)
    assert tried.turn().shut
    assert not tried.governor.ask(ONE, "other.example").shut


def test_turns_of_callers_that_died_are_lost_only_a_few_seconds_ahead():
    tried = Tried(Rules(sessions=(("a", 0.1),)))
    given = [tried.governor.ask(tried.rules, SITE) for _ in range(50)]
    assert len([turn for turn in given if turn.session]) == 3
    assert tried.waited_s() <= 40


def test_a_turn_of_one_session_alone():
    tried = Tried(TWO)
    assert {tried.turn("b").session for _ in range(3)} == {"b"}


def test_what_an_operator_sees():
    tried = Tried(ONE)
    tried.go("ok")
    tried.go("blocked", "source")
    told = tried.governor.snapshot()[SITE]
    assert (told["requests"], told["open"], told["outcomes"]) == (2, False, {"blocked": 1, "ok": 1})
    session = told["sessions"]["a"]
    assert (session["state"], session["why"], session["seconds_left"]) == ("cooling down", "blocked", 60.0)


def test_threads_share_one_pace():
    governor, rules = Governor(), Rules(sessions=(("a", 50.0),))
    times: list[float] = []

    def work() -> None:
        turn = governor.ask(rules, SITE)
        time.sleep(turn.wait_s)
        times.append(time.monotonic())

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(times) - min(times) >= 0.17


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://www.youtube.com/watch?v=x", "youtube.com"),
        ("https://rr3---sn-abc.googlevideo.com/videoplayback?expire=1", "googlevideo.com"),
        ("https://media.example.co.uk/x", "example.co.uk"),
        ("https://youtu.be/x", "youtu.be"),
        ("http://127.0.0.1:8080/x", "127.0.0.1:8080"),
        ("http://[::1]/x", "::1"),
        ("http://localhost/x", "localhost"),
        ("http://a.example:99999/x", "(no site)"),
        ("http://[::1/x", "(no site)"),
        ("data:,x", ""),
    ],
)
def test_a_site_is_all_its_hosts(url: str, site: str):
    assert site_of(url) == site
