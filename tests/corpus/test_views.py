"""Views: what a query keeps, joins put together, the same bytes each time, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from corpus import compact, units, verify_views, view_query, views
from corpus.expression import ExpressionError
from corpus.schema import VIEW, fields
from corpus.verify_views import look_at_views
from corpus.view_query import ViewError
from corpus.views import open_view, select

LEGS = ["fetch", "models"]


ONE, TWO = "one@111111111111", "two@222222222222"  # two scorers


@pytest.fixture(scope="module")
def corpus(small_corpus, tmp_path_factory):
    """A corpus that the tests only add views to."""
    made = small_corpus()
    return made, made.make(tmp_path_factory.mktemp("corpus") / "run")


def ids(store, name):
    return open_view(store, name).read(["clip_id"]).column(0).to_pylist()


def by_hand(store, keep=()):
    """The rows of a view of all ok clips, put together from the units in plain Python."""
    members_of, rows = {}, []
    for unit_id in sorted(units.done_units(store, "models", root=False)):
        first = units.read_root_unit(store, unit_id).to_pylist()
        second = units.read_columns_unit(store, "models", unit_id).to_pylist()
        rows += [one | two for one, two in zip(first, second, strict=True)]
    for row in rows:
        members_of.setdefault(row["merged_into"] or row["clip_id"], []).append(dict(row))
    kept = []
    for row in (row for row in rows if row["outcome"] == "ok"):
        members = members_of[row["clip_id"]]
        if len(members) > 1:
            row |= {"end_ms": row["joined_end_ms"], "members": members}
            row |= {"num_samples": sum(member["num_samples"] for member in members)}
        row["audio_bytes"] = sum(member["tar_size"] for member in members)
        row["duration_ms"] = round(row["num_samples"] * 1000 / row["sample_rate_hz"])
        kept.append(row)
    known = pa.schema([*VIEW, *fields(*keep)])
    return pa.Table.from_pylist(kept, schema=known)


def ok_clips(made):
    """(source, clip) that end ok, with the join as its first clip."""
    return [
        (n, i)
        for n in range(made.sources)
        for i in range(made.clips)
        if i != 4 and not (n % 3 == 2 and i == made.clips - 1) and not (n == 1 and i in (2, 3))
    ]


def test_keeps_only_clips_that_ended_ok_in_plan_order(corpus):
    made, store = corpus
    view = select(store, LEGS, "all")
    assert ids(store, "all") == [made.clip_id(n, i) for n, i in ok_clips(made)]
    assert view.clips == len(ok_clips(made))
    assert view.sources == made.sources
    table = view.read()
    assert table.schema.equals(VIEW)
    assert view.hours == round(sum(table.column("duration_ms").to_pylist()) / 3_600_000, 6)


def test_a_condition_may_use_the_filters_columns_of_any_leg(corpus):
    made, store = corpus
    where = "bandwidth_hz >= 6000 and coalesce(mono_fold_db, 0) > -12 and is_null(music_word)"
    select(store, LEGS, "clean", where=where)
    wanted = [(n, i) for n, i in ok_clips(made) if i in (1, 2) and (n % 2 or i == 1)]
    assert ids(store, "clean") == [made.clip_id(n, i) for n, i in wanted]
    select(store, LEGS, "stereo", where="mono_fold_db > -12")  # a null is unknown: mono sources are left out
    assert all(int(clip_id[4:7]) % 2 == 0 for clip_id in ids(store, "stereo"))


def test_presets_use_the_papers_thresholds_for_published_scorers(corpus):
    made, store = corpus
    for preset, least in [("AutoReCapXL", 0.1), ("MQ", 0.4), ("HQ", 0.5)]:
        view = select(store, LEGS, preset, preset=preset)
        scores = {(n, i): 0.9 if (n, i) == (1, 1) else made.score(n, i) for n, i in ok_clips(made)}
        assert view.clips == sum(score >= least for score in scores.values()), preset
        assert view.summary["query"]["thresholds"] == {made.scorer: least}


def test_a_scorers_own_thresholds_go_before_the_papers(corpus):
    made, store = corpus
    own = {made.scorer: {"AutoReCapXL": 0.0, "MQ": 0.7, "HQ": 0.8}}
    view = select(store, LEGS, "MQ", preset="MQ", thresholds=own)
    assert view.summary["query"]["thresholds"] == {made.scorer: 0.7}
    assert min(view.read(["clap_score"]).column(0).to_pylist()) == np.float32(0.7)


def test_mq_l_wants_more_than_five_seconds(small_corpus, tmp_path):
    made = small_corpus(sources=2, clips=4, clip_ms=5000, sample_rate_hz=8000)
    store = made.make(tmp_path / "run")
    assert select(store, LEGS, "l", preset="MQ-L").read(["duration_ms"]).column(0).to_pylist() == [15_000]
    assert select(store, LEGS, "longer", preset="MQ", min_duration_s=4.999).clips > 1
    assert select(store, LEGS, "l2", preset="MQ-L", min_duration_s=2.0).clips == 1


def test_a_join_is_one_row_with_its_members_in_order(corpus):
    made, store = corpus
    view = select(store, LEGS, "joined", where="contains(caption, 'one long rain')")
    (row,) = view.read().to_pylist()
    assert view.summary["joined"] == 1
    assert row["clip_id"] == made.clip_id(1, 1)
    assert (row["start_ms"], row["end_ms"], row["duration_ms"]) == (500, 2000, 1500)
    assert [member["clip_id"] for member in row["members"]] == [made.clip_id(1, i) for i in (1, 2, 3)]
    assert row["num_samples"] == sum(member["num_samples"] for member in row["members"]) == 72_000
    assert row["audio_bytes"] == sum(member["tar_size"] for member in row["members"])
    assert row["tar_offset"] == row["members"][0]["tar_offset"]


def test_a_view_is_the_same_however_the_corpus_was_cut(small_corpus, tmp_path, monkeypatch):
    one = small_corpus().make(tmp_path / "one")
    whole = select(one, LEGS, "v", keep=["speech_ratio"])
    monkeypatch.setattr(compact, "ROW_GROUP_ROWS", 5)
    monkeypatch.setattr(views, "ROW_GROUP_ROWS", 5)
    for path in one.list("corpus/compacted"):
        one.delete(path)
    for leg in LEGS:
        compact.compact(one, leg, root=leg == "fetch", target_rows=20)
    assert len(one.list("corpus/compacted")) == 4
    cut = select(one, LEGS, "v", keep=["speech_ratio"])
    whole_rows = by_hand(one, keep=["speech_ratio"])
    assert cut.read().equals(whole_rows)
    for name in ("clips", "hours", "sources", "joined", "audio_bytes", "without_caption", "clap_models"):
        assert cut.summary[name] == whole.summary[name], name
    some = np.array([0, 3, 4, 9, whole_rows.num_rows - 1])
    assert cut.rows(some).equals(whole_rows.take(some).combine_chunks())


def test_duration_is_that_of_the_samples_that_are_there(corpus):
    made, store = corpus
    view = select(store, LEGS, "short", where="duration_s < 0.5")
    assert ids(store, "short") == [made.clip_id(0, made.clips - 1)]
    assert view.read(["duration_ms"]).column(0).to_pylist() == [300]


def test_where_reads_any_column_of_any_leg(corpus):
    made, store = corpus
    select(store, LEGS, "w", where="speech_ratio < 0.15 and license == 'CC0' and row >= 0")
    assert ids(store, "w") == [made.clip_id(n, i) for n in (1, 3, 5) for i in (0, 1)]
    with pytest.raises(ExpressionError, match="speech_ratio"):
        select(store, LEGS, "w", where="speech_rate > 1")


def test_the_same_corpus_and_query_give_the_same_bytes(corpus, small_corpus, tmp_path):
    _, store = corpus
    other = small_corpus().make(tmp_path / "elsewhere")
    for where in (store, other):
        select(where, LEGS, "same", preset="MQ", where="row < 9")
    for file in ("views/same.parquet", "views/same.json"):
        assert store.read(file) == other.read(file)


def test_kept_columns_travel_with_the_view(corpus):
    _, store = corpus
    view = select(store, LEGS, "kept", keep=["speech_ratio", "uploader", "title"])
    table = view.read()
    assert table.schema.names == [*VIEW.names, "speech_ratio", "uploader"]
    assert view.summary["query"]["keep"] == ["speech_ratio", "uploader"]
    with pytest.raises(ViewError, match="cannot be kept"):
        select(store, LEGS, "kept", keep=["nothing"])


def test_an_embedding_can_be_kept(small_corpus, tmp_path):
    store = small_corpus(embedding=lambda n, i: np.array([n, i, 0.5], dtype=np.float32)).make(tmp_path / "run")
    view = select(store, LEGS, "kept", keep=["clap_audio_embedding"])
    rows = view.read(["clap_audio_embedding"]).column(0).to_pylist()
    assert {len(row) for row in rows} == {3}


def test_a_corpus_without_captions_has_views_too(small_corpus, tmp_path):
    made = small_corpus(models=False)
    store = made.make(tmp_path / "run")
    view = select(store, ["fetch"], "audio")
    assert view.clips == view.summary["without_caption"] == made.sources * made.clips - made.sources // 3
    with pytest.raises(ViewError, match="no clip has a CLAP score yet"):
        select(store, ["fetch"], "mq", preset="MQ")


def test_scores_of_two_models_are_not_compared(small_corpus, tmp_path):
    made = small_corpus()
    made.scorer = ONE
    original = made._scored
    made._scored = lambda entry: {**original(entry), "clap_model": TWO if entry["row"] % 2 else ONE}
    store = made.make(tmp_path / "run")
    assert view_query.clap_models(store, LEGS) == [ONE, TWO]
    with pytest.raises(ViewError, match="cannot be compared"):
        select(store, LEGS, "x", clap_min=0.4)
    only = select(store, LEGS, "x", clap_min=0.4, where=f"clap_model == '{TWO}'")
    assert only.summary["clap_models"] == [TWO]
    by_model = select(store, LEGS, "y", preset="HQ", thresholds={TWO: {"AutoReCapXL": 0, "MQ": 0, "HQ": 2}})
    assert by_model.summary["clap_models"] == [ONE]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "LQ"}, "no preset 'LQ'; there are AutoReCapXL, MQ, MQ-L, HQ"),
        ({"preset": "MQ", "clap_min": 0.2}, "either"),
        ({"name": "../up"}, "cannot be a view's name"),
        ({"name": ""}, "cannot be a view's name"),
    ],
)
def test_refuses_in_a_sentence(corpus, options, message):
    _, store = corpus
    with pytest.raises(ViewError, match=message):
        select(store, LEGS, options.pop("name", "v"), **options)


def test_an_empty_view_is_a_view(corpus):
    _, store = corpus
    assert select(store, LEGS, "none", clap_min=5.0).clips == 0
    assert open_view(store, "none").summary["hours"] == 0


def test_open_view_says_what_is_wrong(corpus):
    _, store = corpus
    select(store, LEGS, "here")
    with pytest.raises(ViewError, match=r"no view 'there' \(there are: .*here"):
        open_view(store, "there")
    summary = json.loads(store.read("views/here.json"))
    summary["query"]["clap_min"] = 0.1
    store.replace("views/here.json", json.dumps(summary).encode())
    with pytest.raises(ViewError, match="run autorecap select again"):
        open_view(store, "here")
    store.replace("views/here.parquet", b"no parquet")
    with pytest.raises(ViewError, match="damaged"):
        open_view(store, "here")


def test_leaves_no_temporary_files(corpus):
    _, store = corpus
    select(store, LEGS, "v")
    assert [path for path in Path(store.root, "views").iterdir() if path.name.startswith(".")] == []


def test_clips_that_were_filtered_come_back_by_reason_where_they_have_audio(small_corpus, tmp_path):
    made = small_corpus()
    original = made._fetched
    lost = {"outcome": "filtered", "reason": "speech_heard", "stage": "hear_speech"}
    made._fetched = lambda entry: {**original(entry), **(lost if entry["row"] == 0 else {})}
    commit = units.commit_root
    with pytest.MonkeyPatch.context() as patch:  # as a recipe's keep_audio does, but for one unit
        patch.setattr(
            units,
            "commit_root",
            lambda store, planned, rows, meta: commit(
                store, planned, rows, meta, keep_audio="all" if planned["unit_id"][0].as_py() != "00000-00002" else ()
            ),
        )
        store = made.make(tmp_path / "run")
    plain = select(store, LEGS, "plain")
    also = select(store, LEGS, "also", include_filtered=["speech_heard"])
    assert also.clips == plain.clips + 2
    assert also.summary["without_audio"] == 1
    only = select(
        store, LEGS, "only", include_filtered=["speech_heard"], where="reason == 'speech_heard'", keep=["reason"]
    )
    rows = only.read().to_pylist()
    assert [row["clip_id"] for row in rows] == [made.clip_id(0, 0), made.clip_id(2, 0)]
    assert all(row["tar"] and row["caption"] is None and row["reason"] == "speech_heard" for row in rows)
    assert select(store, LEGS, "none", include_filtered=["silent"]).clips == plain.clips


def test_verify_tells_of_views_that_refer_to_what_is_gone(small_corpus, tmp_path):
    store = small_corpus(clip_ms=50).make(tmp_path / "run")
    select(store, LEGS, "v")
    assert look_at_views(store).ok
    (path,) = store.list("corpus/compacted/fetch")
    store.delete(path)
    assert "view v refers to corpus/compacted/fetch" in look_at_views(store).detail
    store.replace("views/v.parquet", b"no parquet")
    assert "damaged" in look_at_views(store).detail
    store.replace("views/v.json", store.read("views/v.json")[:-9])
    assert "view 'v' cannot be read" in look_at_views(store).detail
    store.replace("views/v.json", b'{"format_version": 1}')
    assert look_at_views(store).ok  # of another version, which says so itself


def test_verify_tells_of_damage_in_what_only_a_view_refers_to(small_corpus, tmp_path):
    store = small_corpus(clip_ms=50).make(tmp_path / "run")
    last = store.list("corpus/units")[-1]
    data = store.read(last)
    store.delete(last)
    compact.compact(store, "fetch", root=True)
    (old,) = store.list("corpus/compacted/fetch")
    select(store, ["fetch"], "v")
    store.put_if_absent(last, data)
    compact.compact(store, "fetch", root=True)
    assert len(store.list("corpus/compacted/fetch")) == 2
    assert look_at_views(store).ok
    whole = store.read(old)
    store.replace(old, whole[:400] + bytes([whole[400] ^ 1]) + whole[401:])
    assert f"view v refers to {old}, which is damaged" in look_at_views(store).detail


def test_a_view_that_is_made_anew_while_verify_looks_is_not_damaged(small_corpus, tmp_path, monkeypatch):
    store = small_corpus(clip_ms=50).make(tmp_path / "run")
    select(store, LEGS, "v")
    half = store.read("views/v.parquet")
    store.replace("views/v.parquet", b"of the query before")
    real = verify_views.open_view

    def made_by_now(store, name):
        try:
            return real(store, name)
        finally:
            store.replace("views/v.parquet", half)

    monkeypatch.setattr(verify_views, "open_view", made_by_now)
    assert look_at_views(store).ok
