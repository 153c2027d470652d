import errno
import multiprocessing
import os
import resource
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

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


def test_a_url_of_this_disk_is_a_local_store(tmp_path):
    for scheme in ("file://", "local://"):
        store = Store(f"{scheme}{tmp_path}")
        assert store.local("a") == tmp_path / "a"
        assert not store.put_if_absent("a", b"1") or store.read("a") == b"1"


def test_a_disk_without_hard_links_still_has_one_first(tmp_path, monkeypatch):
    def no_links(*args, **kwargs):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    store = Store(tmp_path)
    assert store.put_if_absent("a/b", b"one")
    assert not store.put_if_absent("a/b", b"two")
    assert store.read("a/b") == b"one"
    assert os.listdir(tmp_path / "a") == ["b"]


def test_a_link_that_fails_for_another_reason_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="no space"):
        Store(tmp_path).put_if_absent("a/b", b"one")
    assert os.listdir(tmp_path / "a") == []


class ObjectStore(MemoryFileSystem):
    """Objects in memory behind a client that keeps listings, as the clients of object stores do."""

    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]
    protocol = "corpusobjects"

    def ls(self, path, detail=True, **kwargs):
        path = self._strip_protocol(path)
        if path not in self.dircache:
            self.dircache[path] = super().ls(path, detail=True, **kwargs)
        found = self.dircache[path] if path in self.dircache else super().ls(path, detail=True, **kwargs)
        return found if detail else [entry["name"] for entry in found]


class LikeS3(ObjectStore):
    """Tells a lost race as an S3 client does: EINVAL, for a 412."""

    protocol = "corpuss3"

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        if mode == "create" and self._strip_protocol(path) in self.store:
            raise OSError(errno.EINVAL, "At least one of the pre-conditions you specified did not hold")
        super().pipe_file(path, value)


class LikeAzure(ObjectStore):
    """Takes `overwrite`, knows no mode."""

    protocol = "corpusazure"

    def pipe_file(self, path, value, overwrite=True):
        if not overwrite and self._strip_protocol(path) in self.store:
            raise FileExistsError(path)
        super().pipe_file(path, value)


class CannotCreate(ObjectStore):
    """Has no exclusive create at all."""

    protocol = "corpusplain"

    def pipe_file(self, path, value):
        super().pipe_file(path, value)


CLIENTS = [LikeS3, LikeAzure, CannotCreate]
for client in CLIENTS:
    fsspec.register_implementation(client.protocol, client, clobber=True)


@pytest.mark.parametrize("client", CLIENTS)
def test_each_kind_of_object_store_client_puts_once(client, tmp_path):
    store = Store(f"{client.protocol}://{tmp_path.name}")
    assert store.put_if_absent("a/b", b"one")
    assert not store.put_if_absent("a/b", b"two")
    store.replace("c", b"three")
    assert (store.read("a/b"), store.read("c"), store.list()) == (b"one", b"three", ["a/b", "c"])


@pytest.mark.parametrize("client", [LikeS3, LikeAzure])
def test_who_looks_too_early_is_stopped_by_the_object_store_itself(client, tmp_path, monkeypatch):
    store = Store(f"{client.protocol}://{tmp_path.name}")
    looked = []

    def exists(fs, path, **kwargs):
        looked.append(path)
        if len(looked) == 1:  # the other writer comes between the look and the write
            fs.store.clear()
            MemoryFileSystem.pipe_file(fs, path, b"the other's")
            return False
        return True

    monkeypatch.setattr(client, "exists", exists)
    assert not store.put_if_absent("a", b"ours")
    assert store.read("a") == b"the other's"


def test_what_another_machine_commits_is_seen_at_once(tmp_path):
    url = f"corpuss3://{tmp_path.name}"
    here, there = Store(url), Store(url)
    here.put_if_absent("units/1", b"")
    assert here.list("units") == ["units/1"]
    there.put_if_absent("units/2", b"x")
    assert here.exists("units/2")
    assert here.list("units") == ["units/1", "units/2"]
