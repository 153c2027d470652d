"""Fetch, cut, commit, from a site on loopback: the road against a bare loop and against the reference's way.

    python -m benchmarks.fetch_road --sources 120

Sources are 4 minutes of AAC with six spans of 10 s between their captions. Three ways, in one run:

    road       plan, then the leg fetch > cut on a local Ray with two CPUs: seconds from its first committed unit
    bare       one process, no rows and no checks: GET a file, seek to its six spans, FLAC, a tar for every unit
    reference  for each clip one yt-dlp extraction and one ffmpeg that cuts it out of the address
    downloader for each clip what GenAU's downloader does: an extraction for metadata, then yt-dlp's download of a
               section (a second extraction, an ffmpeg that cuts) and an ffmpeg that makes it WAV

The site is a process of its own and shares the machine with them. Bars: the road per core at least 0.8 of the bare
loop and 10 times the reference, and at least one source a second per core.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from audio.codec import encode
from audio.decode import AudioSource
from benchmarks.decode import CLIPS_MS, SECONDS, make
from corpus.store import Store
from pipeline.config import Recipe
from pipeline.engine import ensure_ray, stop_ray
from pipeline.plan import plan
from pipeline.run import LegEnd, LegStart, UnitDone, run_leg
from tests.site_server import Site

PLUGINS = str(Path(__file__).resolve().parent.parent / "tests" / "data" / "ytdlp_plugins")
RATE_HZ = 48_000
UNIT_CLIPS = 48
CPUS = 2


def serve(media: Path, sources: int, told: Any, over: Any) -> None:
    """The site, until `over` is set. Every source is the same sound under its own address."""
    site = Site()
    body, captions = media.read_bytes(), vtt()
    for number in range(sources):
        path = f"/media/{number}.m4a"
        site.bodies[path] = ("audio/mp4", body)
        formats = [{"format_id": "a", "url": path, "ext": "m4a", "vcodec": "none", "acodec": "aac", "abr": 128}]
        site.watch(f"{number}", b"", formats=formats, captions=captions, duration=float(SECONDS))
    told.put(site.url)
    over.wait()
    site.close()


def vtt() -> str:
    """Captions everywhere but in CLIPS_MS."""
    ends = [0, *(end for _, end in CLIPS_MS)]
    starts = [*(start for start, _ in CLIPS_MS), SECONDS * 1000]
    cues = [f"{stamp(a)} --> {stamp(b)}\nsomebody talks" for a, b in zip(ends, starts, strict=True) if b > a]
    return "WEBVTT\n\n" + "\n\n".join(cues) + "\n"


def stamp(ms: int) -> str:
    return f"{ms // 60_000:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def recipe(run: str, url: str, sources: int) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "bench",
            "run": run,
            "sources": [{"type": "urls", "items": [f"{url}/watch/{number}" for number in range(sources)]}],
            "plan": {"unit_clips": UNIT_CLIPS, "leading": False, "trailing": False},
            "ytdlp": {
                "plugin_dirs": [PLUGINS],
                "requests_per_s": 10_000,
                "allow_private_addresses": ["127.0.0.0/8"],
            },
            "legs": {"fetch": {"stages": [{"use": "fetch"}, {"use": "cut", "sample_rate_hz": RATE_HZ}]}},
            "execution": {"cpus": CPUS},
        }
    )


def road(folder: Path, url: str, sources: int) -> dict[str, float]:
    """Rates of the fetch leg: clips/s from the first committed unit on, and when that was."""
    how = recipe(str(folder / "run"), url, sources)
    store = Store(how.run)
    planned = plan(how, store)
    assert planned.progress.clips == sources * len(CLIPS_MS), planned
    ensure_ray(num_cpus=CPUS)
    started = time.perf_counter()
    times: list[float] = []
    clips = 0
    for event in run_leg(store, how, "fetch"):
        if isinstance(event, UnitDone):
            assert event.error is None, event.error
            assert set(event.outcomes) == {"ok"}, event.outcomes
            times.append(time.perf_counter() - started)
            clips += event.clips
        assert not isinstance(event, LegEnd) or event.undone == 0
        assert not isinstance(event, LegStart) or event.clips == planned.progress.clips
    stop_ray()
    steady = (clips - UNIT_CLIPS) / (times[-1] - times[0])
    return {"clips_per_s": steady, "first_unit_s": times[0], "tail_share": tail_share(times)}


def tail_share(times: list[float]) -> float:
    """The share of the wall clock that the last 1 % of the units (at least one) took."""
    last = max(1, round(len(times) * 0.01))
    return (times[-1] - times[-1 - last]) / times[-1]


def bare(folder: Path, url: str, sources: int) -> float:
    """Clips/s of a loop that does only what must be done."""
    started = time.perf_counter()
    for unit in range(0, sources, UNIT_CLIPS // len(CLIPS_MS)):
        with tarfile.open(folder / f"{unit}.tar", "w") as tar:
            for number in range(unit, min(unit + UNIT_CLIPS // len(CLIPS_MS), sources)):
                path = folder / "media.m4a"
                with urllib.request.urlopen(f"{url}/media/{number}.m4a") as answer:
                    path.write_bytes(answer.read())
                with AudioSource(path) as source:
                    for start_ms, end_ms in CLIPS_MS:
                        data = encode(source.segment(start_ms, end_ms, RATE_HZ), RATE_HZ, "flac")
                        about = tarfile.TarInfo(f"{number}_{start_ms}.flac")
                        about.size = len(data)
                        tar.addfile(about, io.BytesIO(data))
        with (folder / f"{unit}.tar").open("rb") as file:
            os.fsync(file.fileno())
    return sources * len(CLIPS_MS) / (time.perf_counter() - started)


def reference(folder: Path, url: str, sources: int) -> float:
    """Clips/s of one extraction and one ffmpeg for each clip."""
    import imageio_ffmpeg
    import yt_dlp

    from stages.ytdlp_plugins import use_plugins

    use_plugins((PLUGINS,))
    program = imageio_ffmpeg.get_ffmpeg_exe()
    started = time.perf_counter()
    for number in range(sources):
        for start_ms, end_ms in CLIPS_MS:
            with yt_dlp.YoutubeDL({"quiet": True, "no_warnings": True, "format": "bestaudio"}) as ydl:
                info = ydl.extract_info(f"{url}/watch/{number}", download=False)
            span = ["-ss", str(start_ms / 1000), "-t", str((end_ms - start_ms) / 1000)]
            out = ["-ar", str(RATE_HZ), "-y", str(folder / f"{number}_{start_ms}.wav")]
            subprocess.run([program, "-v", "error", *span, "-i", info["url"], *out], check=True)
    return sources * len(CLIPS_MS) / (time.perf_counter() - started)


def downloader(folder: Path, url: str, sources: int) -> float:
    """Clips/s of the reference's two requests for each clip: metadata, and a section."""
    import imageio_ffmpeg
    import yt_dlp

    program = folder / "ffmpeg"
    program.symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"  # where yt-dlp looks for the downloader ffmpeg
    quiet: dict[str, Any] = {"quiet": True, "no_warnings": True, "noprogress": True, "format": "bestaudio"}
    started = time.perf_counter()
    for number in range(sources):
        for start_ms, end_ms in CLIPS_MS:
            with yt_dlp.YoutubeDL(quiet) as ydl:
                ydl.extract_info(f"{url}/watch/{number}", download=False)
            section = yt_dlp.utils.download_range_func(None, [(start_ms / 1000, end_ms / 1000)])
            out = folder / f"section-{number}-{start_ms}.m4a"
            with yt_dlp.YoutubeDL({**quiet, "download_ranges": section, "outtmpl": str(out)}) as ydl:
                ydl.download([f"{url}/watch/{number}"])
            wav = ["-ar", "44100", "-y", str(out.with_suffix(".wav"))]
            subprocess.run([str(program), "-v", "error", "-i", str(out), *wav], check=True)
    return sources * len(CLIPS_MS) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=120)
    parser.add_argument("--reference-sources", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        media = make(folder / "a.m4a", "aac", 44_100)
        start = multiprocessing.get_context("spawn")
        told, over = start.Queue(), start.Event()
        site = start.Process(target=serve, args=(media, options.sources, told, over))
        site.start()
        try:
            url = told.get(timeout=60)
            ways = road(folder, url, options.sources)
            one_core = bare(folder, url, min(options.sources, 40))
            slow = reference(folder, url, options.reference_sources)
            slower = downloader(folder, url, options.reference_sources)
        finally:
            over.set()
            site.join()
    per_core = ways["clips_per_s"] / CPUS
    print(f"{'way':<24} {'clips/s':>8} {'sources/s':>10} {'beside':>8}")
    print(f"{'road, per core':<24} {per_core:>8.2f} {per_core / len(CLIPS_MS):>10.2f}")
    others = {"bare loop, one core": one_core, "reference, one core": slow, "downloader, one core": slower}
    for name, rate in others.items():
        print(f"{name:<24} {rate:>8.2f} {rate / len(CLIPS_MS):>10.2f} {per_core / rate:>7.2f}x")
    print(f"first unit committed after {ways['first_unit_s']:.1f} s; ", end="")
    print(f"the last 1 % of units took {100 * ways['tail_share']:.1f} % of the wall clock")


if __name__ == "__main__":
    main()
