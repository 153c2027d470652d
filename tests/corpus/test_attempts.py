import pytest

from benchmarks.synthetic import write_plan
from corpus import attempts, plan_store, units
from corpus.schema import OUTCOME
from corpus.store import Store, StoreError
from corpus.work_ids import attempt_of, in_order, unit_of, work_id
from stages.base import with_columns

META = units.UnitMeta(leg="fetch", recipe_sha256="r", plan_part_sha256="p")
UNIT = "00000-00001"


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path / "run"))
    write_plan(store, units=3, clips_per_unit=4)
    return store


def ended(planned, reasons, attempt):
    """Planned rows with outcomes: None is ok, a word why it failed."""
    columns = {
        "outcome": [reason and "failed" for reason in reasons],
        "reason": reasons,
        "detail": [None] * len(reasons),
        "stage": [None] * len(reasons),
        "attempt": [attempt] * len(reasons),
    }
    return with_columns(planned, columns, OUTCOME)


def commit(store, unit_id, reasons):
    planned = plan_store.read_unit(store, unit_id)
    units.commit_root(store, planned, ended(planned, reasons, 0), META)


def retry(store, attempt, rows, reasons):
    planned = plan_store.read_unit(store, UNIT).take(rows)
    assert attempts.plan_retry(store, "fetch", work_id(UNIT, attempt), planned)
    units.commit_root(store, planned, ended(planned, reasons, attempt), META, attempt=attempt)


def seen(store, **how):
    rows = attempts.read_latest(store, "fetch", UNIT, root=True, **how).to_pylist()
    return [(row["reason"], row["attempt"]) for row in rows]


def test_a_work_id_is_a_unit_or_one_of_its_retries():
    assert (unit_of("00000-00003.r12"), attempt_of("00000-00003.r12")) == ("00000-00003", 12)
    assert (unit_of(UNIT), attempt_of(UNIT), work_id(UNIT, 0), work_id(UNIT, 2)) == (UNIT, 0, UNIT, f"{UNIT}.r2")
    assert plan_store.part_of("00007-00003.r2") == "00007"
    ids = [f"{UNIT}.r10", f"{UNIT}.r2", UNIT, "00000-00002"]
    assert sorted(ids, key=in_order) == [UNIT, f"{UNIT}.r2", f"{UNIT}.r10", "00000-00002"]


@pytest.mark.parametrize(
    "name", ["", "00000", f"{UNIT}.r0", f"{UNIT}.r01", f"{UNIT}.r99999", f"{UNIT}.r1/..", "a-b.r1"]
)
def test_what_is_no_work_id_never_becomes_a_path(store, name):
    with pytest.raises(ValueError, match="not a unit's id"):
        attempt_of(name)
    with pytest.raises(StoreError):
        attempts.retry_path("fetch", name)


def test_each_clip_is_read_as_its_latest_attempt_left_it(store):
    commit(store, UNIT, ["http_429", None, "timeout", "http_429"])
    assert seen(store) == [("http_429", 0), (None, 0), ("timeout", 0), ("http_429", 0)]
    retry(store, 1, [0, 3], [None, "timeout"])
    retry(store, 2, [2, 3], ["gone", None])
    assert seen(store) == [(None, 1), (None, 0), ("gone", 2), (None, 2)]
    assert seen(store, attempts=[0, 1]) == [(None, 1), (None, 0), ("timeout", 0), ("timeout", 1)]
    assert seen(store, columns=["reason", "attempt"]) == seen(store)
    assert units.done_units(store, "fetch", root=True) == {UNIT}
    assert attempts.attempts_of(store, "fetch", UNIT, root=True) == [0, 1, 2]


def test_a_retry_is_there_once_and_pending_until_its_leg_has_committed_it(store):
    commit(store, UNIT, ["http_429", None, None, None])
    planned = plan_store.read_unit(store, UNIT).take([0])
    assert attempts.plan_retry(store, "fetch", f"{UNIT}.r1", planned)
    assert not attempts.plan_retry(store, "fetch", f"{UNIT}.r1", planned)
    assert attempts.pending_retries(store, ["fetch"]) == {f"{UNIT}.r1": "fetch"}
    assert attempts.pending_retries(store, ["fetch"], "00001") == {}
    assert attempts.read_planned(store, f"{UNIT}.r1", ["models", "fetch"]).equals(planned)
    assert attempts.retry_info(store, "fetch", f"{UNIT}.r1").rows == 1
    with pytest.raises(KeyError, match="r2 is not in the plan"):
        attempts.read_planned(store, f"{UNIT}.r2", ["fetch"])
    units.commit_root(store, planned, ended(planned, [None], 1), META, attempt=1)
    assert attempts.pending_retries(store, ["fetch"]) == {}
    assert attempts.pending_retries(store, ["fetch", "models"]) == {f"{UNIT}.r1": "fetch"}


def test_a_retry_whose_unit_is_not_committed_is_not_read(store):
    retry(store, 1, [0], [None])
    assert attempts.attempts_by_unit(units.done_work(store, "fetch", root=True)) == {}
