import json
import logging

from corpus.store import Store
from pipeline.run import UnitDone
from pipeline.runlog import run_log
from pipeline.worker import StageTally, UnitTally

EVENT = UnitDone(
    "fetch", "00000-00001", 4, {"ok": 4}, 40_000, UnitTally("00000-00001", [StageTally("cut", 4, 4, 40_000, 1.5)])
)


def write(store):
    with run_log(store, "run") as log:
        logging.getLogger("somewhere").warning("a thing happened")
        log.unit(EVENT)


def test_a_start_leaves_words_and_a_line_per_unit(tmp_path):
    store = Store(str(tmp_path))
    write(store)
    (units,) = [path for path in store.list("logs") if path.endswith("units.jsonl")]
    record = json.loads(store.read(units))
    assert (record["unit"], record["outcomes"], record["stages"][0]["seconds"]) == ("00000-00001", {"ok": 4}, 1.5)
    assert b"a thing happened" in store.read(units.replace("units.jsonl", "driver.log"))


def test_logs_of_a_run_on_an_object_store_get_there(tmp_path):
    store = Store(f"memory://{tmp_path.name}")
    write(store)
    assert sorted(path.rsplit("/", 1)[1] for path in store.list("logs")) == ["driver.log", "units.jsonl"]


def test_nothing_is_logged_to_it_afterwards(tmp_path):
    store = Store(str(tmp_path))
    write(store)
    before = {path: store.read(path) for path in store.list("logs")}
    logging.getLogger("somewhere").warning("later")
    assert {path: store.read(path) for path in store.list("logs")} == before
