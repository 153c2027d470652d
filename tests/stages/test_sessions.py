"""Several sessions against a real site on loopback: who asks, who pauses, who takes over; limits; no secret told."""

from __future__ import annotations

import logging
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from stages.faults import Fault
from stages.governor import Governor
from stages.media import YtdlpMedia, from_json, to_json
from stages.turns import SiteShut, site_of
from stages.ytdlp_client import YtdlpClient
from stages.ytdlp_options import YtdlpOptions

BOT = {"says": "Sign in to confirm you're not a bot"}
AUDIO = bytes(range(256)) * 200
FAST = {
    **{"timeout_s": 2, "retries": 2, "backoff_s": 0.02, "cool_down_s": 0.3, "quarantine_s": 0.4, "max_wait_s": 5},
    **{"requests_per_s": 1000, "allow_private_addresses": ["127.0.0.1/32"]},
}
TWO = [{"name": "home", "user_agent": "home/1"}, {"name": "away", "user_agent": "away/1"}]


def options_of(plugin_dir: str, **section: Any) -> YtdlpOptions:
    return YtdlpOptions.from_mapping({"plugin_dirs": [plugin_dir], **FAST, "sessions": TWO, **section})


@pytest.fixture
def governor() -> Governor:
    return Governor()


@pytest.fixture
def client(plugin_dir: str, governor: Governor) -> YtdlpClient:
    return YtdlpClient(options_of(plugin_dir), governor=governor)


def sessions_of(governor: Governor) -> dict[str, Any]:
    (told,) = governor.snapshot().values()
    return dict(told["sessions"])


def test_the_other_session_takes_over_where_one_is_blocked(site, client, governor):
    url = site.watch("rain")
    site.answers["/watch/rain"] = [403]
    assert client.extract(url).title == "Video rain"
    told = sessions_of(governor)
    assert sorted(tuple(session["outcomes"]) for session in told.values()) == [("blocked",), ("ok",)]


def test_blocked_sources_lead_to_quarantine_and_one_good_request_ends_it(site, plugin_dir, governor):
    lone = YtdlpClient(options_of(plugin_dir, sessions=[], blocks_to_quarantine=2), governor=governor)
    for name in ("a", "b"):
        url = site.watch(name, **BOT)
        with pytest.raises(Fault) as caught:
            lone.extract(url)
        assert (caught.value.reason, caught.value.transient) == ("blocked", True)
    assert sessions_of(governor)["default"]["state"] in ("quarantined", "on trial")
    asked = len(site.asked)
    lone.extract(site.watch("c"))
    assert len(site.asked) == asked + 1
    assert sessions_of(governor)["default"]["state"] == "open"


def test_a_site_that_lets_nobody_in_is_shut_and_no_source_is_marked(site, plugin_dir, governor):
    url = site.watch("rain")
    site.answers["/watch/rain"] = [("retry-after", 429, 100_000)]
    lone = YtdlpClient(options_of(plugin_dir, sessions=[]), governor=governor)
    with pytest.raises(SiteShut, match=r"default cooling down \(http_429\)"):
        lone.extract(url)
    with pytest.raises(SiteShut):
        lone.extract(site.watch("wind"))
    assert site.asked == ["/watch/rain"]
    failing = YtdlpClient(options_of(plugin_dir, sessions=[], when_shut="fail"), governor=governor)
    with pytest.raises(Fault, match="blocked: the site lets no session in"):
        failing.extract(site.watch("wind"))


def test_a_date_in_retry_after_is_waited_for(site, client):
    url = site.watch("rain")
    site.answers["/watch/rain"] = [("retry-after", 429, formatdate(time.time() + 2, usegmt=True))] * 2
    assert client.extract(url).title == "Video rain"
    assert site.asked_at_s[2] - site.asked_at_s[0] >= 0.7  # dates know whole seconds only


def test_a_planned_address_is_fetched_by_the_session_that_found_it(site, client, governor, tmp_path: Path):
    media = [client.extract(site.watch(name, AUDIO)).media for name in "abcd"]
    assert {found.address.session for found in media} == {"home", "away"}
    before = {name: session["outcomes"]["ok"] for name, session in sessions_of(governor).items()}
    for at, found in enumerate(media):
        if found.address.session == "away":
            client.download_audio(from_json(to_json(found)), tmp_path, f"s{at}")
    after = {name: session["outcomes"]["ok"] for name, session in sessions_of(governor).items()}
    assert (after["home"] - before["home"], after["away"] - before["away"]) == (0, 2)


def test_an_address_whose_session_pauses_is_extracted_again_by_another(
    site, client, governor, plugin_dir, tmp_path: Path
):
    media = client.extract(site.watch("rain", AUDIO)).media
    finder = media.address.session
    rules = replace(options_of(plugin_dir).rules(), cool_down_s=3600, quarantine_s=3600)
    governor.report(rules, governor.ask(rules, site_of(site.url), finder), "blocked", "another")
    assert client.download_audio(media, tmp_path, "rain").read_bytes() == AUDIO
    assert site.asked[-2:] == ["/watch/rain", "/media/rain.ogg"]
    assert sessions_of(governor)[finder]["outcomes"] == {"blocked": 1, "ok": 1}


def test_who_is_kept_out_by_the_media_site_extracts_no_more(site, client, governor, plugin_dir, tmp_path: Path):
    """Pages and media lie on two sites: `localhost` and `127.0.0.1` of the same port."""
    rules = replace(options_of(plugin_dir).rules(), cool_down_s=3600, quarantine_s=3600)
    media = client.extract(site.watch("rain", AUDIO)).media
    other_site = media.url.replace("127.0.0.1", "localhost")
    governor.report(rules, governor.ask(rules, site_of(site.url), "home"), "blocked", "another")
    turns = [governor.ask(rules, site_of(other_site), leads_to=site_of(site.url)).session for _ in range(4)]
    assert set(turns) == {"away"}
    governor.report(rules, governor.ask(rules, site_of(site.url), "away"), "blocked", "another")
    turns = [governor.ask(rules, site_of(other_site), leads_to=site_of(site.url)).session for _ in range(8)]
    assert set(turns) == {"home", "away"}


def test_media_that_block_one_session_are_fetched_by_another(site, plugin_dir, tmp_path: Path):
    page = site.watch("rain", AUDIO)
    site.answers["/media/rain.ogg"] = [403]
    client = YtdlpClient(options_of(plugin_dir, cool_down_s=3600, quarantine_s=3600, max_wait_s=7200))
    assert client.download_audio(YtdlpMedia(url=page), tmp_path, "rain").read_bytes() == AUDIO
    assert site.asked == ["/watch/rain", "/media/rain.ogg"] * 2


def test_one_session_alone_is_not_named_in_the_plan(site, plugin_dir):
    lone = YtdlpClient(options_of(plugin_dir, sessions=[]))
    assert lone.extract(site.watch("rain", AUDIO)).media.address.session is None


def test_threads_go_on_through_a_block(site, plugin_dir, governor):
    urls = [site.watch(f"v{at}") for at in range(24)]
    for at in range(0, 24, 4):
        site.answers[f"/watch/v{at}"] = [403]
    titles: list[str] = []

    def work(mine: list[str]) -> None:
        own = YtdlpClient(options_of(plugin_dir), governor=governor)
        titles.extend(str(own.extract(url).title) for url in mine)

    threads = [threading.Thread(target=work, args=(urls[at::4],)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(titles) == 24


# The limit of a request.


@contextmanager
def dripping(byte_every_s: float, length: str = "Content-Length: 100000\r\n") -> Iterator[str]:
    """A server that never stalls and never ends."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
                peer.recv(65_536)
                peer.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{length}\r\n{{".encode())
                while True:
                    peer.sendall(b" ")
                    time.sleep(byte_every_s)
            except OSError:
                if server.fileno() < 0:
                    return

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.close()


def test_a_page_and_a_download_that_drip_end_at_their_limits(plugin_dir: str, tmp_path: Path, site):
    own = YtdlpClient(options_of(plugin_dir, sessions=[], retries=0, request_limit_s=0.5))
    with dripping(0.05) as url:
        with pytest.raises(Fault, match="timeout: the request took longer"):
            own.extract(f"{url}/watch/rain")
        media = own.extract(site.watch("rain", formats=[
            {"format_id": "a", "url": f"{url}/rain.ogg", "ext": "ogg", "vcodec": "none"}
        ])).media  # fmt: skip
        with pytest.raises(Fault) as caught:
            own.download_audio(media, tmp_path, "rain", max_s=0.5)
        assert caught.value.reason == "too_slow"


def test_what_came_before_a_limit_is_never_taken_for_the_whole(plugin_dir: str, tmp_path: Path, site):
    """A body without a length ends with its connection, also where it is the limit that ends that."""
    own = YtdlpClient(options_of(plugin_dir, sessions=[], retries=0, request_limit_s=0.5))
    with dripping(0.05, length="") as url:
        with pytest.raises(Fault, match="timeout: the request took longer"):
            own.read_image(f"{url}/rain.jpg", {}, 1_000_000)
        media = own.extract(site.watch("rain", formats=[
            {"format_id": "a", "url": f"{url}/rain.ogg", "ext": "ogg", "vcodec": "none"}
        ])).media  # fmt: skip
        with pytest.raises(Fault, match="too_slow"):
            own.download_audio(media, tmp_path, "rain", max_s=0.5)


# Secrets.

PASSWORD, COOKIE = "hush-pass%21word", "cookie-value-9f3"


def test_neither_password_nor_cookie_is_told(site, plugin_dir, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Whatever goes wrong: a proxy that is not there, a page that echoes what it was sent."""
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(f"# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\t{COOKIE}\n")
    proxy = f"http://somebody:{PASSWORD}@127.0.0.1:9"
    secret = {"name": "away", "proxy": proxy, "cookies_file": str(cookies)}
    through = options_of(plugin_dir, sessions=[secret], retries=1)
    direct = options_of(plugin_dir, sessions=[{"name": "home", "cookies_file": str(cookies)}, secret], retries=0)
    site.watch("echo", says=f"we saw {proxy} and session={COOKIE}")
    told = [repr(through), repr(direct), str(through)]
    with caplog.at_level(logging.DEBUG):
        for options, path in ((through, "/watch/rain"), (direct, "/watch/echo")):
            with pytest.raises(Fault) as caught:
                YtdlpClient(options).extract(site.url + path)
            told += ["".join(traceback.format_exception(caught.value)), *whole_chain(caught.value)]
    told += [record.getMessage() + str(record.exc_info) for record in caplog.records]
    for secret_text in (PASSWORD, "hush-pass!word", COOKIE):
        assert not [text for text in told if secret_text in text]
    assert any("***" in text for text in told)


def whole_chain(error: BaseException | None) -> list[str]:
    """The error and whatever hangs on it, told or not."""
    told: list[str] = []
    while error is not None:
        told += [repr(error), str(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return told
