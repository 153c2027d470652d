"""What docs/security.md promises of strangers' pages and of yt-dlp's own powers, tried."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.faults import Fault
from stages.media import Address, YtdlpMedia
from stages.ytdlp_bounded import MAX_LISTED, bound
from stages.ytdlp_client import YtdlpClient
from stages.ytdlp_options import YtdlpOptions
from stages.ytdlp_session import YtdlpSession

ROOT = Path(__file__).parents[2]
HOSTILE = [
    "../../../x",
    "..",
    "/etc/passwd",
    "a\0b",
    "\u202egnp.exe",
    "x" * 10_000,
    "$(touch x)",
    "`id`;|&",
    "\x1b[31m",
    "-rf",
]


def options(plugin_dir: str, **more) -> YtdlpOptions:
    return YtdlpOptions(
        plugin_dirs=(plugin_dir,),
        timeout_s=2,
        retries=0,
        requests_per_s=10_000,
        allow_private_addresses=("127.0.0.1/32",),
        **more,
    )


@pytest.fixture
def client(plugin_dir: str):
    made = YtdlpClient(options(plugin_dir))
    yield made
    made.close()


#: Fetches what no native downloader takes, beside a page and a transcript; every program on the path leaves a mark.
_EVERYTHING = """
import json, sys
from pathlib import Path
from stages.faults import Fault
from stages.media import Address, YtdlpMedia
from stages.ytdlp_client import YtdlpClient
from stages.ytdlp_options import YtdlpOptions

url, folder, plugins = sys.argv[1:]
client = YtdlpClient(YtdlpOptions(plugin_dirs=(plugins,), retries=0, requests_per_s=10_000, timeout_s=2,
                                  allow_private_addresses=("127.0.0.1/32",)))
print(client.extract(url + "/watch/rain").title)
protocols = "/list.m3u8 m3u8_native, /list.m3u8 m3u8, /a rtmp, /a websocket_frag, /a.ogg http"
for path, protocol in map(str.split, protocols.split(",")):
    address = Address(url=url + path, format_id="", ext="mp4", protocol=protocol)
    media = YtdlpMedia(url=url + "/watch/lost", address=address)
    try:
        print(client.download_audio(media, Path(folder), "v" + protocol).suffix)
    except Fault as fault:
        print(fault.reason)
"""
_PROGRAMS = (
    "ffmpeg ffprobe avconv aria2c curl wget axel http rtmpdump mplayer mpv node phantomjs sh open xdg-open".split()
)


def test_no_program_is_run_and_no_file_of_the_users_is_read(site, plugin_dir: str, tmp_path: Path):
    """A home with a yt-dlp configuration, a .netrc and plugins, and a path full of programs: none of it counts."""
    home, path, mark = tmp_path / "home", tmp_path / "bin", tmp_path / "mark"
    for place in (".config/yt-dlp", ".config/yt-dlp-plugins/evil/yt_dlp_plugins/extractor", "bin"):
        (home / place).mkdir(parents=True)
    evil = f"open({str(mark)!r}, 'w')\n"
    (home / ".config/yt-dlp-plugins/evil/yt_dlp_plugins/extractor/evil.py").write_text(evil)
    (home / ".config/yt-dlp/config").write_text(f"--exec 'touch {mark}'\n--netrc\n--enable-file-urls\n")
    (home / "yt-dlp.conf").write_text(f"--exec 'touch {mark}'\n")
    (home / ".netrc").write_text("default login somebody password secret\n")
    (home / ".netrc").chmod(0o600)
    path.mkdir()
    for name in _PROGRAMS:
        (path / name).write_text(f"#!{sys.executable}\nopen({str(mark)!r}, 'a').write({name!r})\n")
        (path / name).chmod(0o755)
    site.watch("rain", captions="WEBVTT\n\n00:02.000 --> 00:04.000\nhello\n")
    key = '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="/key"\n'  # what yt-dlp's own downloader leaves to ffmpeg
    listed = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n{key}#EXTINF:2,\n/a.ts\n#EXT-X-ENDLIST\n"
    site.put("/list.m3u8", listed, "application/vnd.apple.mpegurl")
    site.put("/a.ogg", b"x" * 100)
    environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "PATH": str(path)}
    command = [sys.executable, "-c", _EVERYTHING, site.url, str(tmp_path / "cache"), plugin_dir]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Video", "rain", *["unsupported"] * 4, ".mp4"], done.stdout
    assert not mark.exists(), mark.read_text()
    assert not any("secret" in text or "Basic" in text for text in site.sent_headers)


def test_yt_dlps_powers_are_shut(plugin_dir: str):
    session = YtdlpSession(options(plugin_dir))
    params = session._ydl.params
    shut = [
        *("exec_cmd", "postprocessors", "usenetrc", "netrc_cmd", "cookiesfrombrowser", "enable_file_urls", "cachedir"),
        *("remote_components", "load_info_filename", "geo_bypass", "writeinfojson", "writethumbnail", "ap_mso"),
        *(
            "nocheckcertificate",
            "allow_unplayable_formats",
            "prefer_insecure",
            "client_certificate",
            "download_archive",
        ),
    ]
    assert {name: params.get(name) for name in shut if params.get(name)} == {}
    assert params["external_downloader"] == {"default": "native"}
    assert session._ydl._pps == {key: [] for key in session._ydl._pps}
    session.close()


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_a_page_says_reaches_no_path(site, client, tmp_path: Path, hostile: str):
    """Id, title, extension and format of the page are hostile; all that is written lies in the source's folder."""
    formats = [{"format_id": hostile, "url": "/media/rain.ogg", "ext": hostile, "vcodec": "none", "protocol": "http"}]
    url = site.watch("rain", b"x" * 100, formats=formats, title=hostile, id=hostile, display_id=hostile)
    info = client.extract(url)
    assert info.title in (hostile, None) or hostile in info.title
    cache = tmp_path / "a" / "b" / "c"
    address = Address(url=site.url + "/media/rain.ogg", format_id=hostile, ext=hostile, protocol="http")
    for name, media in {"one": YtdlpMedia(url=url), "two": YtdlpMedia(url=url, address=address)}.items():
        path = client.download_audio(media, cache, name)
        assert path == cache / name / "media.bin"
    written = {path for path in tmp_path.rglob("*") if path.is_file() and ".locks" not in path.parts}
    assert written <= {cache / name / file for name in ("one", "two") for file in ("media.bin", "page.json")}


def test_a_page_that_lists_without_end_is_looked_at_in_part(site, client, plugin_dir):
    many = MAX_LISTED + 100
    formats = [{"format_id": f"{n}", "url": "/media/rain.ogg", "ext": "ogg", "vcodec": "none"} for n in range(many)]
    subtitles = {f"l{n}": [{"url": f"{site.url}/x.vtt", "ext": "vtt"}] for n in range(many)}
    url = site.watch("rain", formats=formats, subtitles=subtitles)
    assert client.extract(url).title == "Video rain"
    session = YtdlpSession(options(plugin_dir))
    seen = session.extract(url)
    session.close()
    assert (len(seen["formats"]), len(seen["subtitles"])) == (MAX_LISTED, MAX_LISTED)
    info = {"subtitles": {"en": [{"ext": "vtt"}] * 9999}, "thumbnails": "none", "tags": None}
    bound(info)
    assert len(info["subtitles"]["en"]) == MAX_LISTED


def test_data_in_a_page_is_no_address(site, client, tmp_path: Path):
    """yt-dlp reads `data:` URLs without a request; they bring no files of ours and nothing larger than the page."""
    body = base64.b64encode(b"hello").decode()
    assert client.read_image(f"data:text/plain;base64,{body}", {}, 100) == b"hello"
    with pytest.raises(Fault):
        client.read_image("data:,../../etc/passwd" + "x" * 200, {}, 100)


def test_deep_json_is_a_fault(site, client):
    url = site.put("/watch/deep", "[" * 200_000 + "]" * 200_000, "application/json")
    with pytest.raises(Fault) as caught:
        client.extract(url)
    assert caught.value.reason == "extractor_failed"
    assert json.dumps(caught.value.detail).isascii()
