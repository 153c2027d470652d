"""Disks that are full, read-only or over a limit: one sentence, nothing half written, all well when there is room."""

import errno
import pickle
import resource

import pytest

from corpus import compact, units
from corpus.storage_faults import StorageFault, storage_fault, writing
from corpus.store import Store
from corpus.streamed import write_whole
from corpus.verify import verify_corpus


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "filler"
    }


def test_a_full_disk_says_where_and_takes_the_same_file_when_there_is_room(small_disk):
    store = Store(str(small_disk.path / "run"))
    store.put_if_absent("a/first", b"1")
    filler = small_disk.fill(leave_kb=8)
    before = contents(small_disk.path)
    for put in (store.put_if_absent, store.replace):
        with pytest.raises(StorageFault, match=r"no space left at .*/disk/run/a: free some and run the same command"):
            put("a/second", b"x" * 100_000)
    with pytest.raises(StorageFault, match="no space left"):
        write_whole(store, "a/second", lambda file: file.write(b"x" * 100_000))
    assert contents(small_disk.path) == before
    filler.unlink()
    assert store.put_if_absent("a/second", b"x" * 100_000)
    assert store.list() == ["a/first", "a/second"]


def test_a_read_only_disk_says_so(small_disk):
    store = Store(str(small_disk.path / "run"))
    store.put_if_absent("a/first", b"1")
    small_disk.read_only()
    for path in ("a/second", "b/new"):
        with pytest.raises(StorageFault, match="read-only: mount it writable"):
            store.put_if_absent(path, b"2")
    with pytest.raises(StorageFault, match="read-only"):
        write_whole(store, "b/third", lambda file: file.write(b"3"))
    small_disk.writable()
    assert store.put_if_absent("a/second", b"2")


def test_a_limit_on_file_sizes_is_told_as_such(tmp_path):
    store = Store(str(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StorageFault, match="limit on file sizes"):
            store.put_if_absent("a/b", b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(tmp_path) == {}


def test_a_compaction_on_a_full_disk_leaves_the_older_one_and_is_made_later(small_disk, small_corpus):
    small_disk.grow(4096)
    small_corpus().make(small_disk.path / "run")
    store = Store(str(small_disk.path / "run"))
    compacted = store.list("corpus/compacted")
    assert compacted
    for path in compacted:
        store.delete(path)
    filler = small_disk.fill(leave_kb=4)
    legs = [path.split("/")[2] for path in compacted]
    root = sorted(set(legs), key=lambda leg: leg != "fetch")[0]
    before = contents(small_disk.path)
    with pytest.raises(StorageFault, match="no space left"):
        compact.compact(store, root, root=True)
    assert contents(small_disk.path) == before
    filler.unlink()
    compact.compact(store, root, root=True)
    assert set(store.list("corpus/compacted")) <= set(compacted)
    assert verify_corpus(store, [root]).ok
    assert units.done_units(store, root, root=True)


def test_the_fault_is_found_behind_what_it_became(tmp_path):
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "/data/x")
        except OSError as error:
            raise ValueError("unable to write data") from error
    except ValueError as error:
        fault = storage_fault(error)
    assert "no space left at /data/x" in str(fault)
    assert "no space left" in str(storage_fault(OSError("unable to write data: [Errno 28] No space left on device")))
    assert storage_fault(OSError(errno.EACCES, "denied", "/a/source")) is None
    assert storage_fault(ValueError("no disk at all")) is None
    same = pickle.loads(pickle.dumps(fault))
    assert (str(same), same.errno) == (str(fault), errno.ENOSPC)


def test_only_what_is_a_fault_of_the_disk_becomes_one(tmp_path):
    with pytest.raises(FileNotFoundError), writing(tmp_path):
        (tmp_path / "none").read_bytes()
    with pytest.raises(StorageFault, match="may not be written by this user"), writing(tmp_path):
        raise PermissionError(errno.EACCES, "denied")
