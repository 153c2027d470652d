import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from generation.conditioners.base import Reader
from generation.conditioners.cache import Cached


class Counting(Reader):
    """A conditioner that counts what it is asked."""

    name, weights_sha256, width, independent = "counting/one", "ab" * 32, 4, True

    def __init__(self):
        self.asked = []

    def embed(self, texts):
        self.asked += texts
        return np.array([[len(text), 1, 2, 3] for text in texts], dtype=np.float32).reshape(-1, 4)


def test_each_text_is_embedded_once_in_all_processes_that_come(tmp_path):
    first = Counting()
    texts = ["a", "bb", "", "a", "\ud800 lone"]
    found = Cached(first, tmp_path).embed(texts)
    assert (found == first.embed(texts)).all()
    assert first.asked[:4] == ["a", "bb", "", "\ud800 lone"]
    second = Counting()
    again = Cached(second, tmp_path).embed([*texts, "new"])
    assert second.asked == ["new"]
    assert (again[:5] == found).all()
    assert Cached(Counting(), tmp_path).embed([]).shape == (0, 4)


def test_other_weights_are_kept_apart(tmp_path):
    Cached(Counting(), tmp_path).embed(["a"])
    other = Counting()
    other.weights_sha256 = "cd" * 32
    Cached(other, tmp_path).embed(["a"])
    assert other.asked == ["a"]


def test_one_whose_vectors_depend_on_each_other_is_asked_every_time(tmp_path):
    inner = Counting()
    inner.independent = False
    cached = Cached(inner, tmp_path)
    cached.embed(["a"])
    cached.embed(["a"])
    assert inner.asked == ["a", "a"]
    assert list(tmp_path.iterdir()) == []


def test_threads_of_one_process_write_together(tmp_path):
    cached = Cached(Counting(), tmp_path)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: cached.embed(["x" * k for k in range(n, n + 20)])[0, 0], range(40)))
    assert found == list(range(40))


def test_a_damaged_file_is_begun_anew(tmp_path):
    Cached(Counting(), tmp_path).embed(["a"])
    (path,) = Path(tmp_path).glob("*.sqlite")
    path.write_bytes(b"no database" * 500)
    inner = Counting()
    Cached(inner, tmp_path).embed(["a"])
    assert inner.asked == ["a"]
    assert sqlite3.connect(path).execute("select count(*) from vectors").fetchone() == (1,)


def test_a_full_disk_costs_only_what_would_have_been_kept(small_disk, caplog):
    inner = Counting()
    cached = Cached(inner, small_disk.path)
    texts = [f"{n}" for n in range(40_000)]
    assert cached.embed(texts).shape == (40_000, 4)
    assert "are not kept" in caplog.text
    assert cached.embed(["1"])[0, 0] == pytest.approx(1)
