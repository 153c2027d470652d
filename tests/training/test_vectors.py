import multiprocessing

import numpy as np

from training.vectors import VectorFile


def test_it_is_bounded_and_the_first_go_first(tmp_path):
    file = VectorFile(tmp_path / "c.sqlite", limit=10)
    for n in range(0, 30, 3):
        file.put({bytes([k]): np.zeros(4, np.float32) for k in (n, n + 1, n + 2)})
    assert len(file) == 10
    assert sorted(file.get([bytes([n]) for n in range(30)])) == [bytes([n]) for n in range(20, 30)]


def _fill(path, first):
    file = VectorFile(path, limit=1000)
    for n in range(first, first + 60, 3):
        file.put({str(k).encode(): np.full(4, k, np.float32) for k in range(n, n + 3)})


def test_several_processes_write_together(tmp_path):
    path = tmp_path / "c.sqlite"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_fill, args=(path, first)) for first in (0, 30, 60)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    found = VectorFile(path, limit=1000).get([str(n).encode() for n in range(120)])
    assert {int(key): float(vector[0]) for key, vector in found.items()} == {n: float(n) for n in range(120)}


def test_the_cache_takes_more_keys_than_one_query(tmp_path):
    vectors = {f"{n:04d}": np.full(3, n, dtype=np.float32) for n in range(1200)}
    VectorFile(tmp_path / "c.sqlite").put(vectors)
    cache = VectorFile(tmp_path / "c.sqlite")
    cache.put({"0000": np.zeros(3, dtype=np.float32) + 7})  # the first one stays
    found = cache.get([*vectors, "none"])
    assert found.keys() == vectors.keys()
    assert all((found[key] == vectors[key]).all() for key in vectors)
