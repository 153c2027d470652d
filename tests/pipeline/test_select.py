"""The verb select: compacts what is new, finds the scorer's thresholds, refuses in a sentence."""

from __future__ import annotations

import json
import shutil

import pytest

from corpus.store import Store
from corpus.view_query import ViewError
from pipeline.runfolder import OtherRun
from pipeline.select import scorer_thresholds, select


@pytest.fixture(scope="module")
def corpus(small_corpus, tmp_path_factory):
    made = small_corpus(clip_ms=100)
    return made, made.make(tmp_path_factory.mktemp("corpus") / "run")


def test_compacts_first_when_units_are_not_compacted_yet(corpus, tmp_path):
    _, whole = corpus
    shutil.copytree(whole.root, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/corpus/compacted")
    view = select(str(tmp_path / "run"), "v", clap_min=0.4)
    assert view.clips == select(whole.root, "v", clap_min=0.4).clips > 0
    assert Store(str(tmp_path / "run")).read("views/v.parquet") == whole.read("views/v.parquet")


def test_a_corpus_that_has_grown_is_seen_whole(corpus, tmp_path):
    _, whole = corpus
    shutil.copytree(whole.root, tmp_path / "run")
    store = Store(str(tmp_path / "run"))
    lost = {path: store.read(path) for path in store.list("corpus") if "00000-00001.parquet" in path}
    for path in [*lost, *store.list("corpus/compacted")]:
        store.delete(path)
    before = select(store.root, "v").clips
    for path, data in lost.items():
        store.put_if_absent(path, data)
    assert before < select(store.root, "v").clips == select(whole.root, "v").clips


def test_the_name_is_the_presets_unless_given(corpus):
    _, store = corpus
    assert select(store.root, preset="MQ-L").name == "MQ-L"
    assert select(store.root).name == "view"


def test_a_leg_that_has_committed_nothing_is_left_out(corpus, small_corpus, tmp_path):
    made = small_corpus(clip_ms=100, models=False)
    store = made.make(tmp_path / "run")
    store.put_if_absent("corpus/legs/models.json", b'{"after": "fetch", "stages": []}')
    assert select(store.root).summary["legs"] == ["fetch"]
    with pytest.raises(ViewError, match="no clip has a CLAP score yet"):
        select(store.root, preset="MQ")


def test_legs_can_be_left_out(corpus):
    _, store = corpus
    assert select(store.root, "one", legs=["fetch"]).summary["legs"] == ["fetch"]
    assert select(store.root, "two").summary["legs"] == ["fetch", "models"]


def test_a_scorers_card_gives_the_thresholds(corpus, tmp_path):
    made, whole = corpus
    shutil.copytree(whole.root, tmp_path / "run")
    store = Store(str(tmp_path / "run"))
    name, sha = made.scorer.split("@")
    card = {
        "model_id": name,
        "weights_sha256": sha + "0" * 52,
        "preset_thresholds": {"AutoReCapXL": 0, "MQ": 0.6, "HQ": 1},
    }
    (tmp_path / "scorer").mkdir()
    (tmp_path / "scorer/card.json").write_text(json.dumps(card))
    leg = {"after": "fetch", "stages": [{"use": "score", "model": str(tmp_path / "scorer")}]}
    store.replace("corpus/legs/models.json", json.dumps(leg).encode())
    assert scorer_thresholds({"models": leg})[made.scorer]["MQ"] == 0.6
    assert select(store.root, preset="MQ").summary["query"]["thresholds"] == {made.scorer: 0.6}
    assert select(whole.root, preset="MQ").summary["query"]["thresholds"] == {made.scorer: 0.4}


def test_a_preset_warns_of_a_scorer_that_it_was_not_made_for(corpus, small_corpus, tmp_path, caplog):
    _, store = corpus
    select(store.root, preset="MQ")
    assert "never calibrated" in caplog.text
    caplog.clear()
    scorers = ("music_speech_audioset_epoch_15_esc_89.98@0123456789ab",)
    select(small_corpus(clip_ms=100, scorers=scorers).make(tmp_path / "run").root, preset="MQ")
    assert "never calibrated" not in caplog.text


@pytest.mark.parametrize(
    ("scorer", "why"),
    [("autorecap-clap-small@0123456789ab", "other weights, another scale"), ("mine", "name no weights' hash")],
)
def test_a_preset_refuses_scores_of_weights_that_it_does_not_know(small_corpus, tmp_path, scorer, why):
    store = small_corpus(clip_ms=100, scorers=(scorer,)).make(tmp_path / "run")
    with pytest.raises(ViewError, match=why):
        select(store.root, preset="MQ")
    assert select(store.root, clap_min=0.4).clips > 0


def test_refuses_what_is_no_run_or_has_no_clips(tmp_path):
    with pytest.raises(OtherRun, match="not a run folder"):
        select(str(tmp_path))
    Store(str(tmp_path)).put_if_absent("run.json", b'{"format_version": 1}')
    with pytest.raises(ViewError, match="no committed clips yet"):
        select(str(tmp_path))
