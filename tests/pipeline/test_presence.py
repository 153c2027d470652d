"""Drivers at work on one run: who is told to stop, who takes over, whose share is whose."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from corpus import object_store
from corpus.store import Store
from pipeline import presence
from pipeline.presence import FOLDER, OtherDriver, at_work, drivers_at_work
from pipeline.todo import Partition
from pipeline.verbs import verify_verb


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "run"))


def elsewhere(store, sign_s, leg="fetch", share="1/1"):
    """The file of a driver of another machine."""
    driver = replace(presence._this_driver(leg, Partition.parse(share)), host="far", machine="far", sign_s=sign_s)
    store.replace(driver.path, presence._to_bytes(driver))
    return driver


def test_a_second_driver_of_the_same_leg_is_told_who_is_at_work(store):
    with at_work(store, "fetch", Partition()):
        with pytest.raises(
            OtherDriver, match=r"leg fetch: another driver is at work \(host .*, process \d+, since .*s ago"
        ):
            at_work(store, "fetch", Partition()).__enter__()
        with at_work(store, "models", Partition()):
            assert {driver.leg for driver in drivers_at_work(store)} == {"fetch", "models"}
    assert store.list(FOLDER) == []


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [("1/2", "2/2", False), ("1/2", "1/1", True), ("1/2", "2/3", True), ("1/4", "3/4", False), ("1/4", "1/2", True),
     ("1/4", "2/2", False)],
)  # fmt: skip
def test_shares_that_have_no_unit_in_common_work_side_by_side(store, one, other, meet):
    with at_work(store, "fetch", Partition.parse(one)):
        if meet:
            with pytest.raises(OtherDriver, match="--partition i/n"):
                at_work(store, "fetch", Partition.parse(other)).__enter__()
        else:
            with at_work(store, "fetch", Partition.parse(other)):
                assert len(drivers_at_work(store)) == 2
    units = [f"00000-{at:05d}" for at in range(20_000)]
    shared = [unit for unit in units if Partition.parse(one).has(unit) and Partition.parse(other).has(unit)]
    assert bool(shared) == meet


def test_a_driver_whose_process_is_gone_leaves_its_place_at_once(store):
    work = (
        "import sys, time; from corpus.store import Store; from pipeline.presence import at_work\n"
        "from pipeline.todo import Partition\n"
        "held = at_work(Store(sys.argv[1]), 'fetch', Partition()); held.__enter__()\n"
        "print('at work', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", work, store.root], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "at work\n"
    with pytest.raises(OtherDriver, match=f"process {child.pid}"):
        at_work(store, "fetch", Partition()).__enter__()
    child.kill()
    child.wait()
    with at_work(store, "fetch", Partition()):
        assert len(drivers_at_work(store)) == 1


def test_another_process_that_has_got_the_number_of_a_dead_driver_is_not_taken_for_it(store):
    mine = presence._this_driver("fetch", Partition())
    store.replace(mine.path, presence._to_bytes(replace(mine, process="12345", token="dead")))
    with at_work(store, "fetch", Partition()):
        pass


def test_a_driver_of_another_machine_counts_as_dead_when_its_last_sign_is_old(store):
    elsewhere(store, time.time() - 5)
    with pytest.raises(OtherDriver, match="host far"):
        at_work(store, "fetch", Partition()).__enter__()
    elsewhere(store, time.time() - presence.DEAD_AFTER_S - 1)
    with at_work(store, "fetch", Partition()):
        pass


def test_a_driver_that_is_forced_aside_stops_and_takes_nothing_with_it(store, monkeypatch):
    monkeypatch.setattr(presence, "SIGN_EVERY_S", 0.02)
    with at_work(store, "fetch", Partition()) as first:
        first.check()
        for _ in range(20):  # a sign that was on its way may land on top
            other = elsewhere(store, time.time())
            first._signs.join(0.5)
            if not first._signs.is_alive():
                break
        with pytest.raises(OtherDriver, match=r"has taken over \(host far"):
            first.check()
    assert store.list(FOLDER) == [other.path]


def test_a_driver_that_is_forced_aside_by_one_with_another_share_stops_too(store, monkeypatch):
    with at_work(store, "fetch", Partition()) as first:
        monkeypatch.setattr(presence, "SIGN_EVERY_S", 0.02)
        with at_work(store, "fetch", Partition(1, 2), force=True) as second:
            threading.Timer(5, first._left.set).start()
            first._give_signs()
            with pytest.raises(OtherDriver, match=r"has taken over .*share 1/2"):
                first.check()
            second.check()
            assert store.list(FOLDER) == [f"{FOLDER}/fetch-1of2.json"]


def test_a_sign_of_life_is_given_while_a_driver_works(store, monkeypatch):
    monkeypatch.setattr(presence, "SIGN_EVERY_S", 0.02)
    with at_work(store, "fetch", Partition()):
        began = json.loads(store.read(f"{FOLDER}/fetch-1of1.json"))["sign_s"]
        give_up = time.monotonic() + 10
        while drivers_at_work(store)[0].sign_s == began:
            assert time.monotonic() < give_up
            time.sleep(0.02)


def test_files_that_say_nothing_are_nobody(store):
    store.replace(f"{FOLDER}/fetch-1of1.json", b"{}")
    store.replace(f"{FOLDER}/models-1of1.json", b"no JSON")
    assert drivers_at_work(store) == []
    with at_work(store, "fetch", Partition()):
        assert len(drivers_at_work(store)) == 1


def test_on_s3_it_is_the_same(s3):
    import s3fs

    s3fs.S3FileSystem().mkdir("presence")
    store = Store("s3://presence/run")
    with at_work(store, "fetch", Partition()):
        with pytest.raises(OtherDriver, match="at work"):
            at_work(store, "fetch", Partition()).__enter__()
        assert b"road-secret" not in store.read(f"{FOLDER}/fetch-1of1.json")
    assert store.list() == []


def test_where_a_store_cannot_say_who_was_first_nobody_is_forced_aside(store, monkeypatch):
    monkeypatch.setattr(object_store, "_exclusively", lambda fs, method: {})
    plain = Store(f"memory://{store.root}")
    with at_work(plain, "fetch", Partition()), pytest.raises(OtherDriver, match=r"last sign$"):
        at_work(plain, "fetch", Partition(), force=True).__enter__()


def test_a_sweep_spares_what_a_driver_at_work_is_about_to_name(store, small_corpus, capsys):
    small_corpus(models=False).make(store.root)
    orphan = "corpus/audio/00000/00000-00009-0123456789ab.tar"
    store.put_if_absent(orphan, b"about to be named")
    with at_work(store, "fetch", Partition()):
        assert verify_verb(store.root, decode=False, sweep=True) == 0
        assert "1 are too young to tell" in capsys.readouterr().out
        assert store.exists(orphan)
    assert verify_verb(store.root, decode=False, sweep=True) == 0
    assert not store.exists(orphan)
