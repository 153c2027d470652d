"""Strangers' text: nothing steers a terminal, nothing but the web is linked."""

import pytest

from pipeline.shown import clock, one_line, web_address


def test_what_steers_is_taken_out():
    assert one_line("a\x1b[31mred\x07\n\tb\u202eevil\x00") == "a [31mred b evil"
    assert one_line("wörld 🐕‍🦺 می‌خواهم") == "wörld 🐕‍🦺 می‌خواهم"
    assert one_line(None) == ""
    assert one_line("x" * 50, 10) == "x" * 9 + "…"


@pytest.mark.parametrize("url", ["https://example.org/a?b=c#d", "http://127.0.0.1:8765/watch?v=a&t=1"])
def test_the_web_is_linked(url):
    assert web_address(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)"),
        *("data:text/html,<script>alert(1)</script>", "file:///etc/passwd", "//example.org/x", "example.org"),
        *("https://", "http://[::1", "https://a b.org/", "https://example.org/\x00", "", None),
    ],
)
def test_nothing_else_is(url):
    assert web_address(url) is None


def test_places_on_a_time_line():
    assert [clock(ms) for ms in (0, 1_250, 59_999, 3_723_000)] == ["0:00.0", "0:01.3", "1:00.0", "1:02:03.0"]
