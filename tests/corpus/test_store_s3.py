"""The store on a real server that speaks S3: one winner whatever the race, whole objects, what the client remembers."""

import multiprocessing
import os
import threading

import pytest
import s3fs

from corpus import object_store
from corpus.store import Store


@pytest.fixture
def store(s3, request):
    """An empty run folder in a bucket of its own."""
    bucket = request.node.name.replace("_", "-").strip("-")[:60]
    s3fs.S3FileSystem().mkdir(bucket)
    return Store(f"s3://{bucket}/runs/one")


def test_files_are_put_once_replaced_listed_read_in_ranges_and_deleted(store, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)))
    assert store.put_if_absent("units/a", b"one")
    assert not store.put_if_absent("units/a", b"two")
    assert store.put_if_absent("units/b", file)
    assert (store.read("units/a"), store.read_range("units/b", 250, 100)) == (b"one", bytes(range(250, 256)))
    store.replace("units/a", file)
    assert (store.size("units/a"), store.list(), store.list("none")) == (256, ["units/a", "units/b"], [])
    store.delete("units/a")
    store.delete("units/a")
    assert not store.exists("units/a")
    with pytest.raises(FileNotFoundError):
        store.read("units/a")


def test_what_another_client_puts_is_seen_at_once(store):
    store.list()
    s3fs.S3FileSystem(skip_instance_cache=True).pipe_file(f"{store.root.removeprefix('s3://')}/units/x", b"theirs")
    assert (store.list(), store.exists("units/x")) == (["units/x"], True)
    assert not store.put_if_absent("units/x", b"ours")


def _in_threads(count, put):
    barrier, won = threading.Barrier(count), []

    def work(number):
        barrier.wait()
        if put(number):
            won.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won


def test_of_many_writers_exactly_one_wins_and_its_bytes_are_there(store):
    for path in ("a", "b", "c"):
        won = _in_threads(12, lambda number, path=path: store.put_if_absent(path, bytes([number]) * 50_000))
        assert len(won) == 1
        assert store.read(path) == bytes(won) * 50_000


def _write(url, environment, number, barrier, answers):
    os.environ.update(environment)
    barrier.wait()
    answers.put((number, Store(url).put_if_absent("unit.parquet", bytes([number]) * 50_000)))


def test_of_many_processes_exactly_one_wins(store, s3):
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(3), context.Queue()
    given = [(store.root, s3.environment, number, barrier, answers) for number in range(3)]
    writers = [context.Process(target=_write, args=one) for one in given]
    for writer in writers:
        writer.start()
    won = [number for number, first in (answers.get(timeout=60) for _ in writers) if first]
    for writer in writers:
        writer.join()
    assert len(won) == 1
    assert store.read("unit.parquet") == bytes(won) * 50_000


def test_a_tar_that_goes_in_parts_has_one_winner_too_and_leaves_no_parts(store, s3, tmp_path):
    files = [tmp_path / "0", tmp_path / "1"]
    for number, file in enumerate(files):
        with file.open("wb") as opened:
            opened.write(bytes([number]))
            opened.truncate(105_000_000)  # above what s3fs sends in one piece
    won = _in_threads(2, lambda number: store.put_if_absent("big.tar", files[number]))
    assert len(won) == 1
    assert (store.size("big.tar"), store.read_range("big.tar", 0, 1)) == (105_000_000, bytes(won))
    assert any(method == "POST" and "uploadId" in query for method, _, query in s3.requests)
    assert s3fs.S3FileSystem().list_multipart_uploads(store.root.split("/")[2]) == []


def test_a_store_says_whether_it_keeps_the_first_and_leaves_nothing_of_the_question(store, tmp_path):
    assert store.keeps_first()
    assert store.list() == []
    assert Store(str(tmp_path)).keeps_first()


def test_a_client_that_cannot_be_told_to_create_is_found_out(store, monkeypatch):
    monkeypatch.setattr(object_store, "_exclusively", lambda fs, method: {})
    assert not store.keeps_first()
    assert store.put_if_absent("a", b"one")
    assert not store.put_if_absent("a", b"two")
