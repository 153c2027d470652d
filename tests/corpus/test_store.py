import multiprocessing
import os
import resource

import pytest

from corpus.store import Store, StoreError


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    if request.param == "local":
        return Store(str(tmp_path / "run"))
    return Store(f"memory://{tmp_path.name}")


def test_put_if_absent_keeps_the_first(store):
    assert store.put_if_absent("a/b.bin", b"one")
    assert not store.put_if_absent("a/b.bin", b"two")
    assert store.read("a/b.bin") == b"one"


def test_replace_read_ranges_sizes_and_lists(store, tmp_path):
    file = tmp_path / "big"
    file.write_bytes(bytes(range(256)) * 100)
    store.replace("x/1", file)
    store.replace("x/1", b"0123456789")
    assert store.read_range("x/1", 2, 3) == b"234"
    assert store.read_range("x/1", 8, 30) == b"89"
    assert store.size("x/1") == 10
    store.replace("x/y/2", b"")
    store.replace("z", b"")
    assert store.list() == ["x/1", "x/y/2", "z"]
    assert store.list("x") == ["x/1", "x/y/2"]
    assert store.list("nothing") == []
    store.delete("x/1")
    store.delete("x/1")
    assert not store.exists("x/1")
    with pytest.raises(FileNotFoundError):
        store.read("x/1")


@pytest.mark.parametrize("path", ["../out", "a/../../b", "/etc/passwd", "a//b", "a/./b", "a\0b"])
def test_no_path_leaves_the_store(store, path):
    with pytest.raises(StoreError):
        store.replace(path, b"")


def test_half_written_files_are_not_listed(tmp_path):
    store = Store(str(tmp_path))
    store.replace("units/a.parquet", b"x")
    (tmp_path / "units" / ".tmp-123").write_bytes(b"half")
    assert store.list() == ["units/a.parquet"]
    assert store.list(temporary=True) == ["units/.tmp-123"]


def _race(root, number, barrier, answers):
    barrier.wait()
    answers.put((number, Store(root).put_if_absent("a/unit.parquet", bytes([number]) * 100_000)))


def test_of_many_writers_exactly_one_wins_and_its_bytes_are_whole(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(6), context.Queue()
    writers = [context.Process(target=_race, args=(str(tmp_path), at, barrier, answers)) for at in range(6)]
    for writer in writers:
        writer.start()
    said = [answers.get(timeout=30) for _ in writers]
    for writer in writers:
        writer.join()
    winners = [number for number, won in said if won]
    assert len(winners) == 1
    assert Store(str(tmp_path)).read("a/unit.parquet") == bytes(winners) * 100_000
    assert os.listdir(tmp_path / "a") == ["unit.parquet"]


def _write_past_the_limit(root):
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        Store(root).put_if_absent("a/unit.parquet", b"x" * 100_000)
    except OSError:
        os._exit(7)
    os._exit(0)


def test_a_disk_that_takes_no_more_leaves_nothing_half_written(tmp_path):
    child = multiprocessing.get_context("fork").Process(target=_write_past_the_limit, args=(str(tmp_path),))
    child.start()
    child.join()
    assert child.exitcode == 7
    assert os.listdir(tmp_path / "a") == []
