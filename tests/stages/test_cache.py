"""The node's media: filled once, whole or not at all, whoever comes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from stages.cache import MediaCache


def filler(calls: list[int], name: str = "a.OGG", delay_s: float = 0.0):
    def fill(folder: Path) -> Path:
        calls.append(1)
        time.sleep(delay_s)
        path = folder / name
        path.write_bytes(b"audio")
        return path

    return fill


def test_filled_once(tmp_path: Path):
    cache, calls = MediaCache(tmp_path), list[int]()
    assert cache.find("rain") is None
    path = cache.get("rain", filler(calls))
    assert path == cache.get("rain", filler(calls)) == cache.find("rain") == tmp_path / "rain" / "media.ogg"
    assert (path.read_bytes(), len(calls)) == (b"audio", 1)
    assert os.listdir(tmp_path / "rain") == ["media.ogg"]


def test_two_that_come_at_once(tmp_path: Path):
    calls: list[int] = []
    threads = [
        threading.Thread(target=MediaCache(tmp_path).get, args=("rain", filler(calls, delay_s=0.2))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_a_fault_leaves_nothing(tmp_path: Path):
    def fill(folder: Path) -> Path:
        (folder / "half").write_bytes(b"x")
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        MediaCache(tmp_path).get("rain", fill)
    assert os.listdir(tmp_path / "rain") == []


def test_what_a_killed_process_leaves_is_no_media_and_holds_no_lock(tmp_path: Path):
    code = f"""
import os, pathlib, signal
from stages.cache import MediaCache
def fill(folder):
    (folder / "media.ogg").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
MediaCache(pathlib.Path({str(tmp_path)!r})).get("rain", fill)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    cache, calls = MediaCache(tmp_path), list[int]()
    assert cache.find("rain") is None
    assert cache.get("rain", filler(calls)).read_bytes() == b"audio"
    assert os.listdir(tmp_path / "rain") == ["media.ogg"]


@pytest.mark.parametrize("source_id", ["", ".", "..", "a/b", "../x", "x" * 65, "a.b", "ü", "a\n"])
def test_ids_that_would_leave_the_cache_are_refused(tmp_path: Path, source_id: str):
    with pytest.raises(ValueError, match="not a source id"):
        MediaCache(tmp_path).get(source_id, filler([]))
    assert os.listdir(tmp_path) == []


def test_odd_suffixes_are_not_kept(tmp_path: Path):
    assert MediaCache(tmp_path).get("a", filler([], "noext")).name == "media.bin"
    assert MediaCache(tmp_path).get("b", filler([], "a.ä ö")).name == "media.bin"


def test_drop(tmp_path: Path):
    cache = MediaCache(tmp_path)
    cache.get("rain", filler([]))
    cache.drop("rain")
    cache.drop("rain")
    assert cache.find("rain") is None
