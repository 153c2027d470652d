"""Sites that say in their headers that machines shall not learn from them."""

from __future__ import annotations

from email.message import Message
from pathlib import Path

import pytest

from stages.faults import Fault
from stages.opt_outs import DEFAULT, OptOuts
from stages.ytdlp_client import YtdlpClient
from stages.ytdlp_options import YtdlpOptions


def headers(*tags: str, **more: str) -> Message:
    message = Message()
    for tag in tags:
        message.add_header("X-Robots-Tag", tag)
    for name, value in more.items():
        message.add_header(name.replace("_", "-"), value)
    return message


@pytest.mark.parametrize(
    ("tags", "word"),
    [
        (["noai"], "noai"),
        (["NoAI, NoImageAI"], "noai"),
        (["noimageai"], "noimageai"),
        (["none"], "noindex"),
        (["nofollow", "noindex"], "noindex"),
        (["autorecap: noai"], "noai"),
        (["AutoReCap: nofollow, noai"], "noai"),
        (["mybot: noindex"], "noindex"),
        (["otherbot: noai"], None),
        (["otherbot: nofollow, noai, noindex"], None),
        (["otherbot: noai, autorecap: noindex"], "noindex"),
        (["otherbot: noai", "noai"], "noai"),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST, noai"], "noai"),
        (["max-snippet: 20, noindex"], "noindex"),
        (["all, index, follow, nosnippet"], None),
        (["noindexing"], None),
        ([""], None),
        ([], None),
    ],
)
def test_who_is_meant_and_what_is_said(tags: list[str], word: str | None):
    assert OptOuts(DEFAULT, "MyBot/1.0 (+https://example.org)").said(headers(*tags)) == word


def test_only_what_the_recipe_respects_counts():
    assert OptOuts(["noai"]).said(headers("noindex, noimageai")) is None
    assert OptOuts([]).said(headers("noai", tdm_reservation="1")) is None
    assert OptOuts(DEFAULT).said(headers(tdm_reservation="1")) == "tdm-reservation"
    assert OptOuts(DEFAULT).said(headers(tdm_reservation="0")) is None


@pytest.fixture
def client(plugin_dir: str):
    made = client_of(plugin_dir)
    yield made
    made.close()


def client_of(plugin_dir: str, **more) -> YtdlpClient:
    section = {"plugin_dirs": [plugin_dir], "timeout_s": 2, "retries": 0, "requests_per_s": 10_000, **more}
    return YtdlpClient(YtdlpOptions.from_mapping({**section, "allow_private_addresses": ["127.0.0.1/32"]}))


def reason_of(action) -> str:
    with pytest.raises(Fault) as caught:
        action()
    assert not caught.value.transient
    return caught.value.reason


def test_a_page_that_opts_out_is_not_planned_and_its_transcript_not_asked_for(site, client):
    url = site.watch("rain", captions="WEBVTT\n")
    site.headers["/watch/rain"] = {"X-Robots-Tag": "noai"}
    assert reason_of(lambda: client.extract(url)) == "opted_out"
    assert site.asked == ["/watch/rain"]


def test_a_page_reached_by_a_redirect_opts_out(site, client):
    site.watch("rain")
    site.headers["/watch/rain"] = {"tdm-reservation": "1"}
    url = site.watch("old")
    site.answers["/watch/old"] = [("redirect", 301, site.url + "/watch/rain")]
    assert reason_of(lambda: client.extract(url)) == "opted_out"


def test_media_that_opt_out_are_not_fetched(site, client, tmp_path: Path):
    info = client.extract(site.watch("rain"))
    site.headers["/media/rain.ogg"] = {"X-Robots-Tag": "noindex"}
    assert reason_of(lambda: client.download_audio(info.media, tmp_path, "rain")) == "opted_out"
    assert site.times_asked("/media/rain.ogg") == 1
    assert reason_of(lambda: client.read_image(site.url + "/media/rain.ogg", {}, 100_000)) == "opted_out"


def test_headers_of_a_transcript_say_nothing_of_the_media(site, client):
    url = site.watch("rain", captions="WEBVTT\n\n00:02.000 --> 00:04.000\nhello\n")
    site.headers["/captions/rain.vtt"] = {"X-Robots-Tag": "noindex"}
    assert client.extract(url).transcript is not None
    site.headers["/watch/rain"] = {"X-Robots-Tag": "otherbot: noai"}
    assert client.extract(url).title == "Video rain"


def test_a_recipe_may_respect_none(site, plugin_dir):
    client = client_of(plugin_dir, respect_opt_outs=[])
    site.headers["/watch/rain"] = {"X-Robots-Tag": "noai"}
    assert client.extract(site.watch("rain")).title == "Video rain"
    client.close()
