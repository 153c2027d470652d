import pyarrow as pa
import pytest

from corpus import plan_store, units
from corpus.schema import DEDUP, OUTCOME
from corpus.verify import verify_corpus

ALONE = {"dup_keep": True}


@pytest.fixture
def verdicts(tmp_path, small_corpus):
    """Commits a dedup leg over a small corpus: `verdicts({clip: columns})`, all other ok clips being alone."""
    made = small_corpus(clip_ms=100, sources=4, clips=4, joined=False)
    store = made.make(tmp_path / "run")

    def commit(given, leave_out=()):
        sha256 = plan_store.part_sha256(store, "00000")
        for unit_id in plan_store.unit_ids(store, "00000"):
            if unit_id in leave_out:
                continue
            root = units.read_root_unit(store, unit_id)
            rows = units.read_columns_unit(store, "models", unit_id).select(
                ["clip_id", "unit_id", "row", *OUTCOME.names]
            )
            said = [given.get(row["clip_id"], ALONE if row["outcome"] == "ok" else {}) for row in rows.to_pylist()]
            for typed in DEDUP:
                rows = rows.append_column(typed, pa.array([one.get(typed.name) for one in said], typed.type))
            meta = units.UnitMeta("dedup", "recipe", sha256)
            units.commit_columns(store, "dedup", root, rows, DEDUP, meta)
        report = verify_corpus(store, ["fetch", "models", "dedup"])
        return {check.name: check for check in report.checks}["dedup: every copy names a clip that is kept"]

    return made.clip_id, commit


def copy_of(head):
    return {"dup_keep": False, "dup_group": head, "dup_kind": "near", "dup_similarity": 0.8}


def kept(own):
    return {"dup_keep": True, "dup_group": own}


def test_sound_columns_are_counted(verdicts):
    clip, commit = verdicts
    exact = {**copy_of(clip(0, 0)), "dup_kind": "exact"}
    check = commit({clip(0, 0): kept(clip(0, 0)), clip(1, 1): copy_of(clip(0, 0)), clip(3, 0): exact})
    assert check.ok, check.detail
    assert check.detail == "1 groups, 1 exact and 1 near copies left out"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (lambda c: {c(0, 0): copy_of("nobody_0_1")}, "which no unit keeps"),
        (lambda c: {c(0, 0): copy_of(c(1, 1))}, "which no unit keeps"),  # that one says it is alone
        (lambda c: {c(0, 0): copy_of(c(1, 1)), c(1, 1): copy_of(c(0, 0))}, "which is left out itself"),
        (lambda c: {c(0, 0): kept(c(0, 0))}, "heads a group of its own"),
        (lambda c: {c(0, 0): {"dup_keep": True, "dup_group": c(1, 1)}}, "is kept and names another clip"),
        (lambda c: {c(0, 0): copy_of(c(0, 0))}, "names no other clip"),
        (lambda c: {c(0, 0): {"dup_keep": False}}, "names no other clip"),
        (lambda c: {c(0, 0): {}}, "is ok and has no dup_keep"),
        (lambda c: {c(2, 3): {"dup_keep": True}}, "is not ok and has a verdict"),
    ],
)
def test_a_contradiction_is_told(verdicts, given, fault):
    clip, commit = verdicts
    check = commit(given(clip))
    assert not check.ok
    assert fault in check.detail


def test_while_units_are_to_do_a_kept_copy_may_be_missing(verdicts):
    clip, commit = verdicts
    assert commit({clip(0, 0): copy_of(clip(3, 0))}, leave_out=["00000-00001"]).ok
