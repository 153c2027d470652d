"""Fetch and cut against a real site: ranges and the whole file give the same clips, and two files never mix."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pyarrow as pa
import pytest
import soundfile

from corpus.schema import fields
from stages.base import Metrics, Services
from stages.cut import Cut
from stages.faults import Fault
from stages.fetch import Fetch
from stages.media import Address, YtdlpMedia, to_json
from stages.partial import BLOCK_BYTES, PartialStore, Told
from stages.ranged_fetch import RangeAnswer, RangedFetch
from stages.ranges import RangeCosts

SECONDS = 60
#: Name -> what ffmpeg is told, and whether the container can be sought in.
FORMS: dict[str, tuple[list[str], bool]] = {
    "end.m4a": (["-c:a", "aac", "-b:a", "320k"], True),
    "front.m4a": (["-c:a", "aac", "-b:a", "320k", "-movflags", "+faststart"], True),
    "x.webm": (["-c:a", "libopus", "-b:a", "320k"], True),
    "x.opus": (["-c:a", "libopus", "-b:a", "320k"], True),
    "x.ogg": (["-c:a", "libvorbis", "-b:a", "320k"], True),
    "x.flac": (["-c:a", "flac"], True),
    "x.wav": (["-c:a", "pcm_s16le"], True),
    "x.mp3": (["-c:a", "libmp3lame", "-b:a", "320k"], False),
}
SPANS = [(0, 1000), (31_500, 33_000), (33_000, 34_000), (SECONDS * 1000 - 800, SECONDS * 1000 + 200)]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """The same sound in every container."""
    folder = tmp_path_factory.mktemp("forms")
    noise = 0.3 * np.random.default_rng(1).standard_normal((SECONDS * 44_100, 2), dtype=np.float32)
    soundfile.write(folder / "noise.wav", noise, 44_100)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(folder / "noise.wav")]
    for name, (options, _) in FORMS.items():
        command += [*options, str(folder / name)]
    subprocess.run(command, check=True)
    return {name: (folder / name).read_bytes() for name in FORMS}


@pytest.fixture
def services(plugin_dir: str, tmp_path: Path) -> Services:
    section = {
        **{"plugin_dirs": [plugin_dir], "timeout_s": 2, "retries": 1, "backoff_s": 0.02, "requests_per_s": 10_000},
        "allow_private_addresses": ["127.0.0.1/32"],
    }
    return Services(run_root=str(tmp_path), cache_dir=tmp_path / "cache", ytdlp=section)


def source(site, name: str, body: bytes, **more) -> str:
    """The `media` of a page whose only format is that file."""
    ext = name.rpartition(".")[2]
    page = site.watch(name, body, formats=[{"format_id": "a", "url": f"/media/{name}", "ext": ext, "vcodec": "none"}])
    url = site.url + f"/media/{name}"
    known = {"duration_ms": SECONDS * 1000, "size_bytes": len(body), "protocol": "http", **more}
    return to_json(YtdlpMedia(url=page, address=Address(url=url, format_id="a", ext=ext, **known)))


def clips_of(media: str, spans=SPANS, source_id: str = "s", units: int = 1) -> pa.Table:
    rows = [
        {"clip_id": f"{start}", "source_id": source_id, "media": media, "start_ms": start, "end_ms": end}
        for start, end in spans
    ]
    rows = [{**row, "source_units": units} for row in rows]
    return pa.Table.from_pylist(rows, schema=fields("clip_id", *Fetch.reads))


def cut_from(path: Path, spans=SPANS, rate: int = 48_000) -> list[dict]:
    """The clips cut from what is here."""
    rows = [{**row, "media_path": str(path)} for row in clips_of("", spans).to_pylist()]
    return Cut(sample_rate_hz=rate).run(pa.Table.from_pylist(rows)).to_pylist()


def cut_whole(body: bytes, name: str, folder: Path, spans=SPANS, rate: int = 48_000) -> list[dict]:
    """The clips cut from the whole file."""
    path = folder / f"whole_{name}"
    path.write_bytes(body)
    return cut_from(path, spans, rate)


def run(services: Services, clips: pa.Table, rate: int = 48_000, **options) -> list[dict]:
    """Through fetch and cut, as a leg does it: each is opened anew."""
    for stage in (Fetch(**options), Cut(sample_rate_hz=rate)):
        stage.open(services)
        live = clips.column("outcome").is_null() if "outcome" in clips.column_names else None
        if live is None or all(live.to_pylist()):
            clips = stage.run(clips)
        stage.close()
    return clips.to_pylist()


def sound_of(rows: list[dict]) -> list[tuple]:
    names = ("sha256", "pcm_sha256", "mono_fold_db", "num_samples", "outcome", "reason")
    return [tuple(row.get(name) for name in names) for row in rows]


def elsewhere(services: Services, name: str) -> Services:
    return Services(run_root=services.run_root, cache_dir=services.cache_dir.parent / name, ytdlp=services.ytdlp)


def held(services: Services, source_id: str = "s") -> PartialStore:
    return PartialStore(services.cache_dir / source_id / "ranges.json")


@pytest.mark.parametrize("name", FORMS)
def test_clips_cut_by_ranges_are_those_of_the_whole_file(site, services: Services, files, name: str, tmp_path: Path):
    media = source(site, name, files[name])
    whole = cut_whole(files[name], name, tmp_path)
    ranged = run(services, clips_of(media), ranges="always")
    assert sound_of(ranged) == sound_of(whole)
    assert [row["outcome"] for row in ranged] == [None] * len(SPANS)
    assert {Path(row["media_path"]).name for row in ranged} == {"ranges.json"}
    if FORMS[name][1]:
        assert held(services).held_bytes < 0.9 * len(files[name])
    path = held(services).path  # what is here serves every rate, and each clip by itself
    assert sound_of(cut_from(path, rate=16_000)) == sound_of(cut_whole(files[name], name, tmp_path, rate=16_000))
    assert sound_of(cut_from(path, SPANS[2:3])) == sound_of(ranged[2:3])


def test_another_unit_of_the_source_adds_its_blocks(site, services: Services, files):
    media = source(site, "x.webm", files["x.webm"])
    run(services, clips_of(media, SPANS[:1]), ranges="always")
    before = held(services).held_bytes
    rows = run(services, clips_of(media, SPANS[1:]), ranges="always")
    assert before < held(services).held_bytes < len(files["x.webm"])
    assert sound_of(rows) == sound_of(cut_whole(files["x.webm"], "x.webm", services.cache_dir, SPANS[1:]))


def test_bytes_that_came_by_ranges_are_told_once(site, services: Services, files):
    told = []

    class Noted(Metrics):
        def count(self, name, value=1.0, **tags):
            told.append(value)

    services.metrics = Noted()
    media = source(site, "x.webm", files["x.webm"])
    run(services, clips_of(media, SPANS[:1]), ranges="always")
    assert told == [held(services).held_bytes]
    run(services, clips_of(media), ranges="always")
    assert sum(told) == held(services).held_bytes
    run(services, clips_of(media), ranges="always")
    assert (len(told), told[-1]) == (3, 0)


# Sites that cannot, or lie.


def of_whole_file(rows: list[dict], body: bytes) -> bool:
    """Whether the clips are of the whole file, and of no blocks."""
    path = Path(rows[0]["media_path"])
    return path.name.startswith("media.") and path.read_bytes() == body and {row["outcome"] for row in rows} == {None}


def test_a_site_that_ignores_ranges_gives_the_whole_file(site, services: Services, files):
    body = files["x.webm"]
    media = source(site, "x.webm", body)
    site.answers["/media/x.webm"] = ["no_range"]
    rows = run(services, clips_of(media), ranges="always")
    assert site.asked == ["/media/x.webm"] * 2
    assert of_whole_file(rows, body)
    assert os.listdir(services.cache_dir / "s") == ["media.webm"]


@pytest.mark.parametrize("answers", [["other_range"], ["well", "other_range"], ["well", "well", "no_range"]])
def test_answers_for_other_bytes_are_not_put_together(site, services: Services, files, answers: list[str]):
    media = source(site, "end.m4a", files["end.m4a"])
    site.answers["/media/end.m4a"] = answers
    assert of_whole_file(run(services, clips_of(media), ranges="always"), files["end.m4a"])


@pytest.mark.parametrize(
    "said", [{"ETag": '"other"'}, {"Last-Modified": "Wed, 21 Oct 2026 07:28:00 GMT"}, {"ETag": None}]
)
def test_a_file_that_changes_between_two_answers_is_fetched_whole(site, services: Services, files, said: dict):
    """Blocks of the old one are here already, from the first unit; the second unit's answer is of another file."""
    old, new = files["x.webm"], files["x.webm"][:-1] + b"?"
    media = source(site, "x.webm", old)
    run(services, clips_of(media, SPANS[:1]), ranges="always")
    site.bodies["/media/x.webm"] = ("audio/webm", new)
    site.headers["/media/x.webm"] = said
    assert of_whole_file(run(services, clips_of(media, SPANS[1:]), ranges="always"), new)


def test_another_length_is_another_file(site, services: Services, files):
    longer = files["x.wav"] + bytes(100_000)
    media = source(site, "x.wav", files["x.wav"])
    run(services, clips_of(media, SPANS[:1]), ranges="always")
    site.bodies["/media/x.wav"] = ("audio/wav", longer)
    site.headers["/media/x.wav"] = {"ETag": held(services).told.etag}
    assert of_whole_file(run(services, clips_of(media, SPANS[1:]), ranges="always"), longer)


def test_a_site_that_names_no_version_is_asked_for_the_whole_file(site, services: Services, files):
    media = source(site, "x.webm", files["x.webm"])
    site.headers["/media/x.webm"] = {"ETag": None}
    assert of_whole_file(run(services, clips_of(media), ranges="always"), files["x.webm"])


def test_an_empty_file_and_a_tiny_one(site, services: Services, files):
    rows = run(services, clips_of(source(site, "x.webm", b"")), ranges="always")
    assert {row["reason"] for row in rows} == {"empty_file"}
    rows = run(services, clips_of(source(site, "y.wav", files["x.wav"][:2000]), SPANS[:1], "t"), ranges="always")
    assert rows[0]["reason"] == "past_end"


def test_a_claimed_size_beyond_all_bounds_makes_no_file(tmp_path: Path):
    def read(first: int, last: int) -> RangeAnswer:
        return RangeAnswer(first=first, body=bytes(last + 1 - first), told=Told(size_bytes=10**15, etag='"1"'))

    costs = RangeCosts(mb_per_s=20, latency_ms=50, requests_per_s=10)
    wanted = RangedFetch(mode="always", costs=costs, spans_ms=[(0, 1000)])
    address = Address(url="http://127.0.0.1/x.ogg", format_id="a", ext="ogg", protocol="http")
    assert wanted(address, read, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_all_the_ranges_of_a_source_together_end_at_the_limit_of_a_download(tmp_path: Path):
    def read(first: int, last: int) -> RangeAnswer:
        raise AssertionError("asked for after the time was up")

    costs = RangeCosts(mb_per_s=20, latency_ms=50, requests_per_s=10)
    wanted = RangedFetch(mode="always", costs=costs, spans_ms=[(0, 1000)], max_s=-1.0)
    with pytest.raises(Fault, match="too_slow"):
        wanted(Address(url="http://127.0.0.1/x.ogg", format_id="a", ext="ogg", protocol="http"), read, tmp_path)


# What passes, what does not.


def test_faults_on_the_way_are_tried_again_as_those_of_a_download_are(site, services: Services, files):
    media = source(site, "x.webm", files["x.webm"])
    site.answers["/media/x.webm"] = ["well", 503, "well", "truncated"]
    rows = run(services, clips_of(media), ranges="always")
    assert sound_of(rows) == sound_of(cut_whole(files["x.webm"], "x.webm", services.cache_dir))


@pytest.mark.parametrize(
    ("answers", "reason"),
    [([503] * 2, "http_5xx"), (["well", 503, 503], "http_5xx"), (["well", 429, 429], "http_429")],
)
def test_a_fault_that_stays_ends_the_clips_and_the_next_start_goes_on(
    site, services: Services, files, answers: list, reason: str
):
    media = source(site, "x.webm", files["x.webm"])
    site.answers["/media/x.webm"] = list(answers)
    rows = run(services, clips_of(media), ranges="always")
    assert {(row["outcome"], row["reason"]) for row in rows} == {("failed", reason)}
    kept = held(services).held_bytes
    rows = run(services, clips_of(media), ranges="always")
    assert {row["outcome"] for row in rows} == {None}
    assert site.times_asked("/watch/x.webm") == 0
    assert held(services).held_bytes > kept == (0 if answers[0] == 503 else 262_144)


def test_an_address_that_ends_midway_is_extracted_again_and_the_blocks_stay(site, services: Services, files):
    body = files["x.wav"]
    media = source(site, "x.wav", body)
    site.answers["/media/x.wav"] = ["well", 403]
    rows = run(services, clips_of(media), ranges="always")
    assert {row["outcome"] for row in rows} == {None}
    assert site.times_asked("/watch/x.wav") == 1
    assert held(services).held_bytes < len(body)


def test_limits_opt_outs_and_addresses_hold(site, services: Services, files):
    media = source(site, "x.wav", files["x.wav"])
    (row, *_) = run(services, clips_of(media), ranges="always", max_media_mb=0.3)
    assert row["reason"] == "too_large"
    site.headers["/media/x.wav"] = {"X-Robots-Tag": "noai"}
    (row, *_) = run(elsewhere(services, "b"), clips_of(media), ranges="always")
    assert (row["outcome"], row["reason"]) == ("filtered", "opted_out")
    refused = to_json(
        YtdlpMedia(
            url="http://127.0.0.66:9/",
            address=Address(url="http://127.0.0.66:9/a", format_id="", ext="ogg", protocol="http"),
        )
    )
    (row, *_) = run(elsewhere(services, "c"), clips_of(refused), ranges="always")
    assert row["reason"] == "refused_address"


# A kill, a damaged disk.


def test_a_killed_fetch_goes_on_with_the_blocks_that_are_here(site, services: Services, files, plugin_dir: str):
    media = source(site, "x.flac", files["x.flac"])
    code = f"""
import os, signal, sys, json
from pathlib import Path
from stages import partial
from stages.base import Metrics, Services
from stages.fetch import Fetch
import pyarrow as pa
put = partial.PartialStore.put
def put_and_die(self, block, data):
    put(self, block, data)
    if self.held_bytes > 500_000:
        os.kill(os.getpid(), signal.SIGKILL)
partial.PartialStore.put = put_and_die
stage = Fetch(ranges="always")
options = json.loads({json.dumps(dict(services.ytdlp))!r})
stage.open(Services(run_root=".", cache_dir=Path({str(services.cache_dir)!r}), ytdlp=options))
stage.run(pa.Table.from_pylist(json.loads({json.dumps(clips_of(media).to_pylist())!r})))
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2])
    assert killed.returncode == -9
    kept = held(services)
    before = {block for block in range(kept.blocks) if kept.has(block)}
    asked = len(site.asked)
    rows = run(services, clips_of(media), ranges="always")
    assert asked >= 2
    assert len(site.asked) > asked
    assert all(held(services).has(block) for block in before)
    assert sound_of(rows) == sound_of(cut_whole(files["x.flac"], "x.flac", services.cache_dir))


def forget(store: PartialStore, which: Callable[[int], bool]) -> None:
    """Take blocks off the list, as if they had never come."""
    listed = json.loads(store.path.read_text())
    listed["blocks"] = {block: crc for block, crc in listed["blocks"].items() if not which(int(block))}
    store.path.write_text(json.dumps(listed))


@pytest.mark.parametrize("name", ["end.m4a", "x.opus", "x.wav"])
def test_whatever_is_not_here_is_told_and_never_heard(site, services: Services, files, name: str):
    """Block by block, each that was fetched is taken away: a clip is as it was, or it says what is missing."""
    media = source(site, name, files[name])
    clips = clips_of(media, SPANS[1:2])
    (good,) = run(services, clips, ranges="always")
    store = held(services)
    listed = store.path.read_bytes()
    missed = 0
    blocks = [block for block in range(store.blocks) if store.has(block)]
    for block in blocks[:: max(1, len(blocks) // 5)]:
        forget(store, lambda at, block=block: at == block)
        (row,) = cut_from(store.path, SPANS[1:2])
        store.path.write_bytes(listed)
        assert row["reason"] == "missing_bytes" or sound_of([row]) == sound_of([good])
        missed += row["reason"] == "missing_bytes"
    assert missed


def test_a_damaged_block_is_fetched_again(site, services: Services, files):
    media = source(site, "x.wav", files["x.wav"])
    good = run(services, clips_of(media), ranges="always")
    at = (31_800 * 44_100 * 4 // 1000 // BLOCK_BYTES + 1) * BLOCK_BYTES
    with held(services).path.with_suffix(".bin").open("r+b") as file:
        file.seek(at)
        file.write(b"damaged")
    first, damaged, _, last = cut_from(held(services).path)
    assert (first["reason"], damaged["reason"], last["reason"]) == (None, "missing_bytes", None)
    assert sound_of(run(services, clips_of(media), ranges="always")) == sound_of(good)


# The choice.


def asked_for(site, services: Services, media: str, **options) -> tuple[list[str], set[str]]:
    site.asked.clear()
    rows = run(services, clips_of(media, **options))
    return site.asked, {Path(row["media_path"]).name for row in rows}


def test_by_itself_it_takes_ranges_of_a_long_source_and_the_whole_of_a_short_one(site, services: Services, files):
    """The wave file is as large as ten minutes of AAC."""
    asked, names = asked_for(site, services, source(site, "x.wav", files["x.wav"]), spans=SPANS[1:2])
    assert names == {"ranges.json"}
    assert 2 <= len(asked) <= 6
    asked, names = asked_for(site, elsewhere(services, "b"), source(site, "x.webm", files["x.webm"]), spans=SPANS)
    assert (asked, names) == (["/media/x.webm"], {"media.webm"})


def test_without_a_duration_or_one_url_it_takes_the_whole(site, services: Services, files):
    media = source(site, "x.wav", files["x.wav"], duration_ms=None)
    assert asked_for(site, services, media, spans=SPANS[1:2]) == (["/media/x.wav"], {"media.wav"})


def test_units_that_share_a_source_want_more_of_it(site, services: Services, files):
    media = source(site, "x.wav", files["x.wav"])
    assert asked_for(site, services, media, spans=SPANS[1:2], units=40)[1] == {"media.wav"}


def test_a_container_that_is_read_all_over_is_given_up(site, services: Services, files):
    """An MP4 of fragments without an index: what was expected to pay does not, and the whole file is fetched."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "wav", "-i", "-", "-c:a", "pcm_s16le", "-f", "mov"]
    command += ["-movflags", "frag_keyframe+empty_moov+default_base_moof", "-frag_duration", "2000000", "-"]
    body = subprocess.run(command, input=files["x.wav"], check=True, capture_output=True).stdout
    rows = run(services, clips_of(source(site, "f.mov", body), SPANS[1:2]))
    assert Path(rows[0]["media_path"]).name == "media.mov"
    assert rows[0]["outcome"] is None


def test_sizes_and_durations_come_from_the_page(site, services: Services, files):
    """Nothing was planned: the extraction tells both."""
    body = files["x.wav"]
    formats = [{"format_id": "a", "url": "/media/x.wav", "ext": "wav", "vcodec": "none", "filesize": len(body)}]
    page = site.watch("long", body, formats=formats, duration=float(SECONDS))
    asked, names = asked_for(site, services, to_json(YtdlpMedia(url=page)), spans=SPANS[1:2])
    assert names == {"ranges.json"}
    assert asked.count("/watch/long") == 1
