"""autorecap search: the clips whose stored embeddings fit a text best, of the right model, and no other clip."""

from __future__ import annotations

import json
import shutil

import html5lib
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from corpus import units
from corpus.compacted import compacted_folder
from corpus.schema import OUTCOME, fields
from corpus.store import Store
from corpus.view_query import ViewError
from pipeline import search as module
from pipeline.cli import main
from pipeline.search import SearchError, search
from pipeline.select import select
from scorer.load import load_scorer, model_name

TEXT = "rain on a roof"
OTHER = "laion/clap-htsat-fused@0123456789ab"


@pytest.fixture(scope="module")
def scorer():
    return load_scorer()


def match_of(n, i):
    """Every clip's own, all over the scale."""
    return ((n * 6 + i) * 37 % 97) / 100


def vectors(scorer):
    """A unit vector with exactly that match."""
    target = scorer.embed_text([TEXT])[0].astype(np.float64)

    def embedding(n, i):
        side = np.random.default_rng(n * 100 + i).standard_normal(target.size)
        side -= (side @ target) * target
        cosine = match_of(n, i)
        return cosine * target + np.sqrt(1 - cosine**2) * side / np.linalg.norm(side)

    return embedding


@pytest.fixture(scope="module")
def corpus(small_corpus, scorer, tmp_path_factory):
    made = small_corpus(
        clip_ms=100,
        sample_rate_hz=16_000,
        scorers=(model_name(scorer),),
        embedding=vectors(scorer),
        titles="</script><script>alert(1)</script>{n}",
        urls="javascript:alert({n})",
        captions=('"><img src=x onerror=alert(1)>', "a dog \x1b[31mbarks"),
    )
    return made, made.make(tmp_path_factory.mktemp("search") / "run")


@pytest.fixture
def copy(corpus, tmp_path):
    shutil.copytree(corpus[1].root, tmp_path / "run")
    return Store(str(tmp_path / "run"))


def expected(made, clips):
    return sorted(clips, key=lambda clip: -match_of(*clip))


def ok_clips(store, made):
    rows = [row for unit in units.done_units(store, "models", root=False) for row in all_rows(store, unit)]
    return [made._where({**row, "start_ms": int(row["clip_id"].split("_")[-2])}) for row in rows if row["ok"]]


def all_rows(store, unit):
    for row in units.read_columns_unit(store, "models", unit).select(["clip_id", "outcome"]).to_pylist():
        yield {"clip_id": row["clip_id"], "source_id": row["clip_id"], "ok": row["outcome"] == "ok"}


@pytest.mark.parametrize("batch_rows", [5, 8192])
def test_the_best_come_first_and_only_those_that_are_ok(corpus, monkeypatch, batch_rows):
    made, store = corpus
    monkeypatch.setattr(module, "BATCH_ROWS", batch_rows)
    found = search(store.root, TEXT, top=10)
    best = expected(made, ok_clips(store, made))
    assert found.clips_searched == len(best) < 36
    assert [hit.clip.clip_id for hit in found.hits] == [made.clip_id(*clip) for clip in best[:10]]
    for hit, clip in zip(found.hits, best, strict=False):
        assert hit.match == pytest.approx(match_of(*clip), abs=1e-5)
        assert hit.clip.outcome == "ok"
    assert len(search(store.root, TEXT, top=500).hits) == len(best)
    assert [h.match for h in search(store.root, TEXT, min_score=0.5).hits] == pytest.approx(
        [match_of(*clip) for clip in best if match_of(*clip) >= 0.5], abs=1e-5
    )


def test_all_finds_what_was_filtered_too(corpus):
    found = search(corpus[1].root, TEXT, top=99, everything=True)
    assert {hit.clip.reason for hit in found.hits} == {None, "joined", "speech_word"}
    assert found.clips_searched == 34


def test_a_view_is_looked_at_alone(corpus, monkeypatch):
    _, store = corpus
    view = select(store.root, "high", clap_min=0.6)
    monkeypatch.setattr(module, "BATCH_ROWS", 5)
    found = search(store.root, TEXT, view="high", top=99)
    assert found.clips_searched == view.clips > 0
    assert {h.clip.clip_id for h in found.hits} == set(view.read(["clip_id"]).column(0).to_pylist())
    with pytest.raises(ViewError, match="has no view 'low'"):
        search(store.root, TEXT, view="low")


def test_a_joined_clip_has_the_audio_of_all_its_members(corpus):
    made, store = corpus
    (joined,) = [hit.clip for hit in search(store.root, TEXT, top=99).hits if hit.clip.clip_id == made.clip_id(1, 1)]
    assert (joined.start_ms, joined.end_ms, len(joined.audio)) == (100, 400, 3)


@pytest.mark.parametrize("as_copy", [False, True])
def test_what_a_later_leg_has_ended_or_knows_as_a_copy_is_not_found(copy, as_copy):
    best = search(copy.root, TEXT, top=3).hits
    unit = best[0].clip.unit_id
    copy.put_if_absent("corpus/legs/late.json", json.dumps({"after": "models", "stages": []}).encode())
    root = units.read_columns_unit(copy, "models", unit).select(["clip_id", "unit_id", "row", *OUTCOME.names])
    rows = root.to_pylist()
    for row in rows:
        row["dup_keep"] = not (as_copy and row["clip_id"] == best[0].clip.clip_id)
        if row["clip_id"] == best[0].clip.clip_id and not as_copy:
            row.update(outcome="filtered", reason="noise")
    meta = units.UnitMeta("late", "recipe", "plan")
    adds = fields("dup_keep") if as_copy else pa.schema([])
    late = pa.Table.from_pylist(rows, schema=pa.schema([*root.schema, *adds]))
    units.commit_columns(copy, "late", root, late, adds, meta)
    after = [hit.clip.clip_id for hit in search(copy.root, TEXT, top=2).hits]
    assert after == [hit.clip.clip_id for hit in best[1:]]


def test_a_run_in_progress_is_searched_as_far_as_it_got(copy):
    unit = sorted(units.done_units(copy, "models", root=False))[-1]
    whole = search(copy.root, TEXT).clips_searched
    copy.delete(units.columns_path("models", unit))
    for path in copy.list(compacted_folder("models")):
        copy.delete(path)
    assert 0 < search(copy.root, TEXT).clips_searched < whole


def test_without_embeddings_it_says_what_keeps_them(small_corpus, tmp_path):
    store = small_corpus(clip_ms=100, sample_rate_hz=16_000).make(tmp_path / "run")
    with pytest.raises(SearchError, match=r"kept no embeddings .*`keep: true`"):
        search(store.root, TEXT)
    fetched = small_corpus(clip_ms=100, sample_rate_hz=16_000, models=False).make(tmp_path / "fetched")
    with pytest.raises(SearchError, match="kept no embeddings"):
        search(fetched.root, TEXT)
    empty = Store(str(tmp_path / "empty"))
    empty.put_if_absent("run.json", b'{"format_version": 1}')
    with pytest.raises(SearchError, match="no committed clips yet"):
        search(empty.root, TEXT)


def test_mixed_models_are_refused_with_their_counts_until_one_is_chosen(small_corpus, scorer, tmp_path):
    own = model_name(scorer)
    made = small_corpus(clip_ms=100, sample_rate_hz=16_000, scorers=(own, OTHER), embedding=vectors(scorer))
    store = made.make(tmp_path / "run")
    with pytest.raises(SearchError, match=r"embeddings of 2 models.*\(\d+ clips\).*--model") as refused:
        search(store.root, TEXT)
    assert own in str(refused.value)
    assert OTHER in str(refused.value)
    found = search(store.root, TEXT, model="embedded", top=99)
    assert {hit.clip.clap_model for hit in found.hits} == {own}


def test_a_model_that_did_not_hear_the_corpus_is_refused(small_corpus, scorer, tmp_path):
    made = small_corpus(clip_ms=100, sample_rate_hz=16_000, scorers=(OTHER,), embedding=vectors(scorer))
    store = made.make(tmp_path / "run")
    with pytest.raises(SearchError, match=f"holds no embedding of .*; it has {OTHER}"):
        search(store.root, TEXT, model="embedded")
    with pytest.raises(SearchError, match=f"the embeddings are of {OTHER}, which was not found"):
        search(store.root, TEXT)


def test_table_json_and_page_show_strangers_text_as_text(copy, tmp_path):
    words = ["search", copy.root, TEXT, "--top", "4", "--html", str(tmp_path / "hits.html")]
    table = CliRunner().invoke(main, words)
    assert table.exit_code == 0, table.output
    assert "\x1b" not in table.output
    said = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert len(said["hits"]) == 4
    tree = html5lib.parse((tmp_path / "hits.html").read_text(), namespaceHTMLElements=False)
    assert not list(tree.iter("script")) + list(tree.iter("img")) + list(tree.iter("a"))
    players = [player.get("src") for player in tree.iter("audio")]
    assert len(players) == 4
    assert all(src.startswith("data:audio/ogg;base64,") for src in players)
    text = "".join(tree.itertext())
    assert "<script>alert(1)</script>" in text
    assert '"><img src=x onerror=alert(1)>' in text


def test_a_clip_whose_audio_is_gone_has_no_player(copy, tmp_path):
    for path in copy.list("corpus/audio"):
        copy.delete(path)
    done = CliRunner().invoke(main, ["search", copy.root, TEXT, "--html", str(tmp_path / "hits.html")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "hits.html").read_text()
    assert "<audio" not in page
    assert "no longer in the corpus" in page
