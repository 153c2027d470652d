"""Whole file or HTTP ranges: bytes and seconds, and from which share of a source on the whole file is done sooner.

    python -m benchmarks.ranges --minutes 60 --latency-ms 50 --mb-per-s 20

An hour of AAC (MP4, its index in front) and of Opus (Ogg, which has none) at 128 kbit/s on a site on loopback that
answers after the latency and sends so fast. Of each, 1 to 50 % is wanted, as clips of 10 s evenly spread. Both ways go
through the stages `fetch` and `cut`, with their media caches empty; clips must be equal. `counted` is the time that the
requests and bytes of the run take at this latency and rate, whatever else the machine does; `expected` is the cost
model's (stages/ranges.py) guess before.
"""

from __future__ import annotations

import argparse
import multiprocessing
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pyarrow as pa
import soundfile

from corpus.schema import fields
from stages.base import Services
from stages.cut import Cut
from stages.fetch import Fetch
from stages.media import Address, YtdlpMedia, to_json
from stages.ranges import Expected, RangeCosts, expected_of_ranges
from tests.site_server import Site

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
FORMS = {"m4a": ["-c:a", "aac", "-movflags", "+faststart"], "opus": ["-c:a", "libopus"]}
RATE_HZ = 48_000


def make(folder: Path, minutes: int) -> None:
    """The source in each container."""
    noise = folder / "noise.wav"
    minute = (0.2 * np.random.default_rng(1).standard_normal((60 * RATE_HZ, 2))).astype(np.float32)
    with soundfile.SoundFile(noise, "w", RATE_HZ, 2, "PCM_16") as file:
        for _ in range(minutes):
            file.write(minute)
    for name, options in FORMS.items():
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(noise), *options, "-b:a", "128k"]
        subprocess.run([*command, str(folder / f"x.{name}")], check=True)
    noise.unlink()


def serve(folder: Path, latency_s: float, bytes_per_s: float, told: Any, over: Any, sent: Any) -> None:
    """The site, in a process of its own, until `over` is set; `sent` counts bytes and requests."""
    site = Site()
    site.latency_s, site.bytes_per_s = latency_s, bytes_per_s
    for name in FORMS:
        site.put(f"/x.{name}", (folder / f"x.{name}").read_bytes())
    told.put(site.url)
    while not over.wait(0.02):
        sent[0], sent[1] = site.sent_bytes, len(site.asked)
    site.close()


def spans_of(share: float, minutes: int) -> list[tuple[int, int]]:
    """Clips of 10 s, evenly spread over the source."""
    duration_ms = minutes * 60_000
    count = max(1, round(share * duration_ms / 10_000))
    return [(at * duration_ms // count, at * duration_ms // count + 10_000) for at in range(count)]


def run(url: str, name: str, spans: list[tuple[int, int]], minutes: int, cache: Path, ranges: Any) -> tuple[Any, float]:
    """(hashes of the clips, seconds of the stage `fetch`)."""
    duration_ms = minutes * 60_000
    address = Address(url=f"{url}/x.{name}", protocol="http", format_id="a", ext=name, duration_ms=duration_ms)
    media = to_json(YtdlpMedia(url=url, address=address))
    row = {"clip_id": "x", "source_id": "x", "media": media, "source_units": 1}
    schema = fields("clip_id", *Fetch.reads)
    clips = pa.Table.from_pylist([{**row, "start_ms": start, "end_ms": end} for start, end in spans], schema=schema)
    section = {"requests_per_s": 10_000, "allow_private_addresses": ["127.0.0.1/32"]}
    services = Services(run_root=".", cache_dir=cache, ytdlp=section)
    fetch, cut = Fetch(ranges=ranges), Cut()
    fetch.open(services)
    cut.open(services)
    started_s = time.perf_counter()
    clips = fetch.run(clips)
    fetch_s = time.perf_counter() - started_s
    done = cut.run(clips)
    fetch.close()
    assert done.column("outcome").null_count == done.num_rows
    return done.column("sha256").to_pylist(), fetch_s


def measure(url: str, sent: Any, arguments: argparse.Namespace, folder: Path) -> None:
    costs = RangeCosts(mb_per_s=arguments.mb_per_s, latency_ms=arguments.latency_ms, requests_per_s=10_000)
    print("| container | wanted | whole: s | MB | counted: s | ranges: s | MB | requests | counted: s ", end="")
    print("| expected: s | MB | requests | chosen |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name in FORMS:
        size = (folder / f"x.{name}").stat().st_size
        for share in SHARES:
            spans = spans_of(share, arguments.minutes)
            told = []
            for way in ("never", "always"):
                before = tuple(sent)
                cache = folder / f"{name}_{share}_{way}"
                hashes, seconds = run(url, name, spans, arguments.minutes, cache, way)
                time.sleep(0.1)
                told.append((hashes, seconds, (sent[0] - before[0]) / 1e6, sent[1] - before[1]))
                subprocess.run(["rm", "-r", str(cache)], check=True)
            (whole, whole_s, whole_mb, _), (ranged, ranged_s, ranged_mb, requests) = told
            assert whole == ranged, "the clips differ"
            duration_ms = arguments.minutes * 60_000
            expected = expected_of_ranges(spans, duration_ms=duration_ms, size_bytes=size, ext=name)
            pays = costs.ranges_pay(spans, duration_ms=duration_ms, size_bytes=size, ext=name)
            counted = [
                costs.seconds(Expected(requests=n, size_bytes=mb * 1e6))
                for n, mb in [(1, whole_mb), (requests, ranged_mb)]
            ]
            measured = f"{whole_s:.2f} | {whole_mb:.1f} | {counted[0]:.2f} | {ranged_s:.2f} | {ranged_mb:.1f}"
            measured += f" | {requests} | {counted[1]:.2f}"
            said = f"{costs.seconds(expected):.2f} | {expected.size_bytes / 1e6:.1f} | {expected.requests}"
            print(f"| {name} | {share:.0%} | {measured} | {said} | {'ranges' if pays else 'whole'} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--mb-per-s", type=float, default=20.0)
    arguments = parser.parse_args()
    processes = multiprocessing.get_context("spawn")
    told, over, sent = processes.Queue(), processes.Event(), processes.Array("q", 2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, arguments.minutes)
        site = processes.Process(
            target=serve,
            args=(folder, arguments.latency_ms / 1000, arguments.mb_per_s * 1e6, told, over, sent),
        )
        site.start()
        try:
            measure(told.get(), sent, arguments, folder)
        finally:
            over.set()
            site.join()


if __name__ == "__main__":
    main()
