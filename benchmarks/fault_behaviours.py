"""Every behaviour of a site that the fault matrix tries, with what it must come to. Stated here, then really run."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from benchmarks.fault_site import FaultSite, Way, watch_page

#: Length of every medium: three clips of 4 s where no transcript says otherwise.
SECONDS, CLIPS = 12, 3

_TYPES = {"vtt": "text/vtt", "srt": "application/x-subrip", "json3": "application/json"}

#: One sentence from 4 s to 8 s: a gap of 4 s before it and one after it.
_VTT = "WEBVTT\n\n00:04.000 --> 00:08.000\nhello there\n"
_SRT = "1\n00:00:04,000 --> 00:00:08,000\nhello there\n"
_JSON3 = json.dumps({"events": [{"tStartMs": 4000, "dDurationMs": 4000, "segs": [{"utf8": "hello there"}]}]})
#: As a site's own recogniser writes: each line comes again under the next, with a flash of both in between.
_ROLLING = """WEBVTT
Kind: captions

00:04.000 --> 00:06.500 align:start
hello<00:04.500><c> there</c>

00:06.500 --> 00:06.510
hello there

00:05.500 --> 00:08.000
hello there
and<00:07.200><c> on</c>
"""
_MUSIC = "WEBVTT\n\n00:04.000 --> 00:06.000\n[Music]\n\n00:06.000 --> 00:08.000\nhello there\n"


@dataclass(frozen=True)
class Behaviour:
    """`ends`: `clips ok`, `clips <reason>`, `source <reason>` or `ended <reason>` while the site misbehaves.

    Where not all clips come to the same it says how many: `clips ok (2), clips undecodable (1)`.
    """

    what: str
    ends: str
    at: str = "plan"  # where it is met: plan, fetch, or both
    ways: Mapping[str, Way] = field(default_factory=dict)
    page: Mapping[str, Any] = field(default_factory=dict)  # of the watch page while it misbehaves
    media: str = "flac"
    captions: tuple[str, str] | None = None  # format and text
    automatic: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    clips: int = CLIPS
    after: str = "clips ok"  # once the site is put right and all that failed was tried again

    @property
    def reason(self) -> str:
        """Why something is lost; `ok` where nothing is."""
        words = re.findall(r"(?:clips|source|ended) (\w+)", self.ends)
        return next((word for word in words if word != "ok"), "ok")

    @property
    def name(self) -> str:
        return "".join(c if c.isalnum() else "-" for c in self.what.lower())[:60].strip("-")


def status(code: int, **kinds: Any) -> dict[str, Way]:
    return {"watch": Way("status", code, **kinds)}


def media(how: str, code: int = 200, **more: Any) -> dict[str, Way]:
    return {"media": Way(how, code, **more)}


def says(text: str) -> dict[str, Any]:
    return {"says": text}


RETRY_AFTER = {"Retry-After": "1"}

BEHAVIOURS: tuple[Behaviour, ...] = (
    # The page.
    Behaviour("page: 404", "source gone", ways=status(404)),
    Behaviour("page: 410", "source gone", ways=status(410)),
    Behaviour("page: 401", "source private", ways=status(401)),
    Behaviour("page: 403", "source blocked", ways=status(403)),
    Behaviour("page: 451", "source geo_blocked", ways=status(451)),
    Behaviour("page: 418", "source http_other", ways=status(418)),
    Behaviour("page: 429 with Retry-After, once", "clips ok", ways=status(429, times=1, headers=RETRY_AFTER)),
    Behaviour("page: 429, always", "source http_429", ways=status(429)),
    Behaviour("page: 503, once", "clips ok", ways=status(503, times=1)),
    Behaviour("page: 500, always", "source http_5xx", ways=status(500)),
    Behaviour("page: redirect", "clips ok", ways={"watch": Way("redirect")}),
    Behaviour("page: connection reset", "source network", ways={"watch": Way("reset")}),
    Behaviour("page: stalls", "source timeout", ways={"watch": Way("stalled")}),
    Behaviour("page: truncated", "source truncated", ways={"watch": Way("truncated")}),
    Behaviour("page says: private", "source private", page=says("Private video. Sign in if you may see it")),
    Behaviour("page says: removed", "source gone", page=says("This video has been removed by the uploader")),
    Behaviour("page says: confirm that you are not a bot", "source blocked", page=says("Confirm you're not a bot")),
    Behaviour("page says: confirm your age", "source age_restricted", page=says("Sign in to confirm your age")),
    Behaviour("page says: not in your country", "source geo_blocked", page={"geo": True}),
    Behaviour("page says: live", "source live", page={"is_live": True}),
    Behaviour("page says: a playlist", "source playlist", page={"_type": "playlist", "entries": []}),
    Behaviour("page: only encrypted formats", "source drm", page={"drm": True}),
    Behaviour("page: only formats without sound", "source no_audio", page={"acodec": "none"}),
    Behaviour("page: not what the extractor expects", "source extractor_failed", page={"broken": True}),
    Behaviour("page: X-Robots-Tag: noai", "ended opted_out", headers={"X-Robots-Tag": "noai"}, after="ended opted_out"),
    # Captions.
    Behaviour("captions: VTT", "clips ok", captions=("vtt", _VTT), clips=2),
    Behaviour("captions: SRT", "clips ok", captions=("srt", _SRT), clips=2),
    Behaviour("captions: json3", "clips ok", captions=("json3", _JSON3), clips=2),
    Behaviour(
        "captions: automatic, rolling and overlapping",
        "clips ok",
        captions=("vtt", _ROLLING),
        automatic=True,
        clips=2,
    ),
    Behaviour("captions: [Music] lines", "clips ok", captions=("vtt", _MUSIC), clips=2),
    Behaviour("captions: no bytes", "source transcript_empty", captions=("vtt", "")),
    Behaviour("captions: a web page instead", "source transcript_broken", captions=("vtt", "<html>Please wait</html>")),
    Behaviour(
        "captions: 404",
        "source transcript_broken",
        captions=("vtt", _VTT),
        ways={"captions": Way("status", 404)},
    ),
    Behaviour("captions: truncated", "source truncated", captions=("vtt", _VTT), ways={"captions": Way("truncated")}),
    Behaviour(
        "captions: 429, always",
        "source http_429",
        captions=("vtt", _VTT),
        ways={"captions": Way("status", 429)},
    ),
    # Media.
    Behaviour("media: 404", "clips gone", "fetch", media("status", 404)),
    Behaviour("media: 410", "clips gone", "fetch", media("status", 410)),
    Behaviour("media: 403 for the planned address, a new one is good", "clips ok", "fetch", media("planned", 403)),
    Behaviour("media: 403, also at a new address", "clips blocked", "fetch", media("status", 403)),
    Behaviour("media: an address that has run out", "clips ok", "fetch", page={"expired": True}),
    Behaviour(
        "media: 429 with Retry-After, once", "clips ok", "fetch", media("status", 429, times=1, headers=RETRY_AFTER)
    ),
    Behaviour("media: 429, always", "clips http_429", "fetch", media("status", 429)),
    Behaviour("media: 503, always", "clips http_5xx", "fetch", media("status", 503)),
    Behaviour("media: redirect", "clips ok", "fetch", media("redirect")),
    Behaviour(
        "media: redirect to an address inside",
        "clips refused_address",
        "fetch",
        media("redirect", headers={"Location": "http://10.0.0.1/secret"}),
    ),
    Behaviour("media: slow body", "clips ok", "fetch", media("slow")),
    Behaviour("media: body too slow for max_download_s", "clips too_slow", "fetch", media("too_slow")),
    Behaviour("media: truncated body, once", "clips ok", "fetch", media("truncated", times=1)),
    Behaviour("media: truncated body, always", "clips truncated", "fetch", media("truncated")),
    Behaviour("media: body stalls", "clips timeout", "fetch", media("stalled")),
    Behaviour(
        "media: shorter Content-Length than the body",
        "clips ok (2), clips undecodable (1)",
        "fetch",
        media("shorter"),
    ),
    Behaviour("media: connection reset", "clips network", "fetch", media("reset")),
    Behaviour("media: zero bytes", "clips empty_file", "fetch", media("empty")),
    Behaviour("media: corrupt container", "clips undecodable", "fetch", media="corrupt"),
    Behaviour("media: no audio stream", "clips no_audio", "fetch", media="picture"),
    Behaviour("media: 5.1 audio", "clips ok", "fetch", media="surround"),
    Behaviour("media: 8 kHz telephone audio", "clips ok", "fetch", media="telephone"),
)


def site_of(behaviour: Behaviour) -> FaultSite:
    """The site of a behaviour, running."""
    path = f"/media/{behaviour.name}"
    good = {f"/watch/{behaviour.name}": watch_page(_page(behaviour, path)), path: ("audio/flac", sound("flac"))}
    bad = {
        f"/watch/{behaviour.name}": watch_page({**_page(behaviour, path), **_faulty(behaviour, path)}),
        path: ("audio/flac", sound(behaviour.media)),
    }
    if behaviour.captions is not None:
        kind, text = behaviour.captions
        good[f"/captions/{behaviour.name}"] = (_TYPES[kind], _VTT.encode())
        bad[f"/captions/{behaviour.name}"] = (_TYPES[kind], text.encode())
    return FaultSite(behaviour.ways, bad, good, behaviour.headers)


def _page(behaviour: Behaviour, path: str) -> dict[str, Any]:
    page: dict[str, Any] = {
        "title": behaviour.what,
        "duration": float(SECONDS),
        "formats": [{"format_id": "a", "url": f"http://site{path}?n={{n}}", "ext": "flac", "vcodec": "none"}],
    }
    if behaviour.captions is not None:
        track = {"url": f"http://site/captions/{behaviour.name}", "ext": behaviour.captions[0]}
        page["automatic_captions" if behaviour.automatic else "subtitles"] = {"en": [track]}
    return page


def _faulty(behaviour: Behaviour, path: str) -> dict[str, Any]:
    """What a watch page says otherwise while the site misbehaves."""
    said = dict(behaviour.page)
    (plain,) = _page(behaviour, path)["formats"]
    if said.pop("drm", False):
        said["formats"] = [{**plain, "has_drm": True}]
    if said.pop("expired", False):
        said["formats"] = [{**plain, "url": f"{plain['url']}&expire=1000000000"}]
    if said.pop("acodec", None) is not None:
        said["formats"] = [{**plain, "acodec": "none", "vcodec": "h264", "ext": "mp4"}]
    return said


@cache
def sound(kind: str) -> bytes:
    """A medium: flac, surround, telephone, corrupt, or picture (a video without sound)."""
    import soundfile

    if kind == "picture":
        return _video()
    rate, channels, container = {"surround": (48_000, 6, "FLAC"), "telephone": (8_000, 1, "WAV")}.get(
        kind, (22_050, 1, "FLAC")
    )
    noise = np.random.Generator(np.random.PCG64(1)).normal(0, 0.1, (rate * SECONDS, channels))
    file = io.BytesIO()
    soundfile.write(file, noise, rate, format=container, subtype="ULAW" if kind == "telephone" else "PCM_16")
    body = file.getvalue()
    return body if kind != "corrupt" else body[:4] + np.random.Generator(np.random.PCG64(2)).bytes(len(body) // 4)


def _video() -> bytes:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(2 * SECONDS):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()
