"""The road, end to end: the demo's site and folder through every verb, on a real Ray, with the shipped models."""

import hashlib
import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import webdataset

from audio.decode import decode_segments
from audio.speech import SAMPLE_RATE_HZ, SpeechDetector
from corpus.store import Store
from corpus.units import read_root_unit
from examples.demo.server import DemoSite

ROOT = Path(__file__).resolve().parents[2]
MEDIA = ROOT / "examples" / "demo" / "media"
pytestmark = pytest.mark.slow

#: Sources and reasons that the demo's README promises.
SOURCES = {"planned": 26, "ended/no_gaps": 1, "failed/gone": 2, "failed/no_audio": 1}
FETCH = {
    "ok": 79,
    "filtered/past_end": 4,
    "filtered/silent": 1,
    "filtered/speech_heard": 1,
    "failed/gone": 1,
    "failed/truncated": 1,
    "failed/undecodable": 1,
    "failed/empty_file": 1,
}


class Road:
    """One run of the demo, made once for all tests of this file."""

    def __init__(self, folder, site):
        self.run, self.shards, self.site = folder / "run", folder / "run" / "shards", site
        listed = site.write_sources(folder / "sources.txt")
        self.config = ["configs/demo.yaml", "--set", f"run={self.run}", "--set", f"sources.0.path={listed}"]

    def autorecap(self, *words):
        command = [sys.executable, "-m", "pipeline.cli", *map(str, words)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def finish(self):
        self.autorecap("plan", *self.config)
        self.autorecap("run", *self.config)
        self.autorecap("select", self.run, "--preset", "AutoReCapXL")
        self.autorecap(
            *("export", self.run, "--view", "AutoReCapXL", "--out", self.shards, "--workers", 0),
            *("--shard-clips", 10, "--split", "80/10/10"),
        )

    def digests(self):
        store = Store(str(self.run))
        kept = [path for path in store.list() if not path.startswith(("logs/", "cache/"))]
        return {path: hashlib.sha256(store.read(path)).hexdigest() for path in kept}

    def status(self):
        return json.loads(self.autorecap("status", self.run, "--json"))


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    with DemoSite() as site:
        road = Road(tmp_path_factory.mktemp("road"), site)
        road.finish()
        yield road


def test_every_source_and_clip_is_accounted_for_with_its_right_reason(road):
    status = road.status()
    assert status["sources"]["total"] == sum(SOURCES.values())
    assert {"planned": status["sources"]["planned"], **status["sources"]["reasons"]} == SOURCES
    assert (status["planned"], status["units"]) == (89, 13)
    fetch, models = status["legs"]["fetch"], status["legs"]["models"]
    assert {"ok": fetch["ok"], **fetch["reasons"]} == FETCH
    for leg in (fetch, models):
        assert leg["ok"] + leg["filtered"] + leg["merged"] + leg["failed"] == status["planned"] == leg["clips_done"]
    assert models["failed"] == fetch["failed"]
    assert status["pending"] == 0


def test_the_corpus_and_the_shards_verify(road):
    assert "sound" in road.autorecap("verify", road.run, "--decode").splitlines()[-1]
    assert "sound" in road.autorecap("verify", road.shards, "--decode").splitlines()[-1]


def test_a_second_start_asks_for_nothing_and_changes_nothing(road):
    before, asked = road.digests(), len(road.site.requests)
    road.finish()
    assert road.digests() == before
    assert len(road.site.requests) == asked


def test_each_source_is_fetched_once_whatever_its_clips(road):
    served = Counter(r.path for r in road.site.requests if r.path.startswith("/media/") and r.status in (200, 206))
    assert served
    twice = {path for path, count in served.items() if count > 1}
    assert all("truncated22" in path for path in twice), twice


def test_webdataset_reads_the_shards_and_every_flac_decodes_to_its_stated_samples(road):
    tars = sorted(str(path) for path in road.shards.rglob("*.tar"))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    assert len(samples) >= 20
    assert len({sample["__key__"] for sample in samples}) == len(samples)
    index = {row["key"]: row for row in pq.read_table(road.shards / "index.parquet").to_pylist()}
    for sample in samples:
        record = json.loads(sample["json"])
        wave, rate = soundfile.read(io.BytesIO(sample["flac"]))
        assert wave.ndim == 1
        assert rate == record["sample_rate_hz"] == 48_000
        assert len(wave) == index[sample["__key__"]]["num_samples"]
        assert record["text"].strip()
        assert "@" in record["clap_model"]
        assert record["clip_id"] == sample["__key__"]


def test_a_clip_of_a_talking_video_holds_none_of_its_narrators_words(road):
    """Word times are the truth's; that they are where speech is heard is silero-vad's word, on the same media."""
    truth = [json.loads(line) for line in (MEDIA / "truth.jsonl").read_text().splitlines()]
    site = json.loads((MEDIA / "site.json").read_text())["sources"]
    words = {}
    for row in truth:
        if row["kind"] == "word":
            words.setdefault(row["source_id"], []).append((row["start_ms"], row["end_ms"]))
    detector = SpeechDetector()
    clips = ok_clips(road)
    checked = 0
    for source_id in sorted(set(words) & set(clips))[:3]:
        heard = narrated(detector, media_of(site, source_id), words[source_id])
        for start_ms, end_ms in clips[source_id]:
            assert overlap_ms((start_ms, end_ms), words[source_id]) == 0
            assert overlap_ms((start_ms, end_ms), heard) <= 150
            checked += 1
    assert checked >= 15


def test_a_search_finds_the_telephone_and_the_report_shows_the_run(road, tmp_path):
    found = json.loads(road.autorecap("search", road.run, "a telephone rings", "--top", 5, "--json"))
    status = road.status()
    copies = sum(leg.get("duplicates") or 0 for leg in status["legs"].values())
    assert found["clips_searched"] == status["ok"] - copies
    assert any("phone" in hit["title"].lower() for hit in found["hits"])
    assert [hit["match"] for hit in found["hits"]] == sorted((hit["match"] for hit in found["hits"]), reverse=True)
    road.autorecap("report", road.run, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert len(page) < 5_000_000
    assert page.count("<audio ") == 60
    assert " clips scored by <code>" in page


def ok_clips(road):
    store = Store(str(road.run))
    clips = {}
    for path in store.list("corpus/units"):
        for row in read_root_unit(store, Path(path).stem).to_pylist():
            if row["outcome"] == "ok":
                name = row["source_key"].rsplit("/", 1)[-1]
                clips.setdefault(name, []).append((row["start_ms"], row["end_ms"]))
    return clips


def media_of(site, source_id):
    """The smallest media file of a source of the site."""
    files = [path for path in (MEDIA / "files").iterdir() if path.name.startswith(source_id)]
    assert files, (source_id, sorted(site))
    return min(files, key=lambda path: path.stat().st_size)


def narrated(detector, path, words):
    """Where silero-vad hears the narrator: its spans of speech that hold a word. Most of the words' time is in them."""
    end_ms = max(end for _, end in words) + 2_000
    wave = np.concatenate(list(decode_segments(path, [(0, end_ms)], SAMPLE_RATE_HZ)))
    spans = [span for span in detector.speech_ms(wave) if overlap_ms(span, words)]
    said_ms = sum(end - start for start, end in words)
    assert sum(overlap_ms(word, spans) for word in words) > 0.8 * said_ms
    return spans


def overlap_ms(span, others):
    return sum(max(0, min(span[1], end) - max(span[0], start)) for start, end in others)
