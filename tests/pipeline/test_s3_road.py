"""The whole road with its run folder and its shards on a server that speaks S3: the same bytes as on a disk.

Two drivers at once, one killed, status, a view, an export, verify and sweep; what is asked of the server, and that no
credentials are left anywhere.
"""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import s3fs
import soundfile
import yaml
from click.testing import CliRunner

from corpus import units
from corpus.store import Store
from pipeline.cli import main
from pipeline.config import load_recipe
from pipeline.engine import ensure_ray, stop_ray
from pipeline.plan import plan
from pipeline.presence import OtherDriver
from pipeline.run import run_leg
from pipeline.runfolder import open_store, start_run
from pipeline.verbs import run_verb

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SOURCES, UNITS, CLIPS = 8, 8, 16


def sound(seed):
    wave = np.random.default_rng(seed).standard_normal(20 * 16_000) * 0.1
    file = io.BytesIO()
    soundfile.write(file, wave.astype(np.float32), 16_000, format="FLAC")
    return file.getvalue()


@pytest.fixture
def recipe(site, plugin_dir, tmp_path):
    """recipe(run) writes one for this site and gives its path."""
    pages = []
    for at in range(SOURCES):
        media = {"format_id": "a", "url": f"/media/{at}.flac", "ext": "flac", "vcodec": "none", "acodec": "flac"}
        pages.append(site.watch(str(at), sound(at), formats=[media], duration=20.0))

    def written(run):
        path = tmp_path / f"{run.rpartition('/')[2]}.yaml"
        config = {
            "name": "s3",
            "run": run,
            "sources": [{"type": "urls", "items": pages}],
            "plan": {"unit_clips": 2, "without_transcript": "grid"},
            "ytdlp": {
                "plugin_dirs": [plugin_dir],
                "requests_per_s": 1000,
                "allow_private_addresses": ["127.0.0.0/8"],
            },
            "legs": {
                "fetch": {"stages": [{"use": "fetch"}, {"use": "cut", "sample_rate_hz": 16_000}]},
                "models": {"after": "fetch", "stages": [{"use": "tests.pipeline.trial_stages:Caption"}]},
            },
            "execution": {"cache_dir": str(tmp_path / "cache"), "cpus": 2},
        }
        path.write_text(yaml.safe_dump(config))
        return path

    return written


def start_a_driver(config, store, tmp_path):
    """A real driver, as far as its first commits."""
    command = [sys.executable, "-m", "pipeline.cli", "run", str(config), "--leg", "fetch"]
    with (tmp_path / "driver.txt").open("wb") as said:
        driver = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)
    give_up = time.monotonic() + 120
    while not units.done_units(store, "fetch", root=True):
        assert driver.poll() is None, (tmp_path / "driver.txt").read_text()
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return driver


def autorecap(*words):
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, (words, done.output, done.exception)
    return done.output


def run_both(config, store):
    for leg in ("fetch", "models"):
        list(run_leg(store, load_recipe(config), leg))


def assert_nothing_is_listed_between(requests, commits):
    """Listings are of a wave and a part of the plan, never of a unit: there are none from its first commit on."""
    put = [at for at, (method, path, _) in enumerate(requests) if method == "PUT" and commits in path]
    assert len(put) == UNITS
    between = [query for method, _, query in requests[put[0] : put[-1]] if method == "GET" and "list-type=2" in query]
    assert [query for query in between if "max-keys=1&" not in query] == []  # that is how a missing object is asked for


def contents(store, *tops):
    return {path: store.read(path) for top in tops for path in store.list(top)}


def test_plan_run_kill_resume_select_export_verify_on_s3_as_on_a_disk(s3, site, recipe, tmp_path):
    s3fs.S3FileSystem().mkdir("road")
    run, out = "s3://road/runs/one", "s3://road/shards/all"
    config = recipe(run)
    store = start_run(load_recipe(config))
    plan(load_recipe(config), store)
    driver = start_a_driver(config, store, tmp_path)
    with pytest.raises(OtherDriver, match=f"process {driver.pid}"):
        run_verb(str(config), (), ("fetch",))
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    asked = len(s3.requests)
    ensure_ray(num_cpus=2)
    run_both(config, store)
    assert_nothing_is_listed_between(s3.requests[asked:], "/corpus/columns/models/")

    disk = start_run(load_recipe(recipe(str(tmp_path / "disk"))))
    plan(load_recipe(recipe(disk.root)), disk)
    run_both(recipe(disk.root), disk)
    stop_ray()
    same = ("corpus/units", "corpus/audio", "corpus/columns", "corpus/compacted", "plan/units", "plan/sources")
    assert contents(store, *same) == contents(disk, *same)
    assert len(store.list("corpus/units")) == UNITS

    status = json.loads(autorecap("status", run, "--json"))
    assert (status["planned"], status["ok"], status["pending"]) == (CLIPS, CLIPS, 0)
    store.put_if_absent("corpus/audio/00000/00000-00000-0123456789ab.tar", b"orphan")
    assert "1 orphan tars, 0 temporary files deleted" in autorecap("verify", run, "--decode", "--sweep")
    assert store.list("corpus/audio") == disk.list("corpus/audio")

    here = str(tmp_path / "shards")
    for of, to in ((run, out), (disk.root, here)):
        autorecap("select", of, "--name", "all")
        autorecap("export", of, "--view", "all", "--out", to, "--shard-clips", 6, "--workers", 0)
    assert "sound" in autorecap("verify", out, "--decode")
    assert sum(path.endswith(".tar") for path in open_store(out).list()) >= 2
    shards = {path: data for path, data in contents(Store(out), "train").items() if path.endswith(".tar")}
    assert shards == {path: data for path, data in contents(Store(here), "train").items() if path.endswith(".tar")}

    everything = [*contents(store, "").values(), (tmp_path / "driver.txt").read_bytes()]
    assert not any(b"road-secret" in data or b"road-key-id" in data for data in everything)


def test_a_bucket_that_is_not_there_is_told_in_a_sentence(s3, recipe):
    done = CliRunner().invoke(main, ["plan", str(recipe("s3://no-such-bucket/run"))])
    assert done.exit_code == 2
    assert "s3://no-such-bucket/run cannot be used" in done.output
    assert "docs/stores.md" in done.output


def test_a_url_with_a_password_in_it_is_refused(recipe):
    from corpus.store import StoreError

    with pytest.raises(StoreError, match="credentials") as refused:
        open_store("s3://key:secret@bucket/run")
    assert "secret@" not in str(refused.value)
