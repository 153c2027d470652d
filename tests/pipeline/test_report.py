"""autorecap report: the numbers of status and select, strangers' text as text, and every state a run can be in."""

from __future__ import annotations

import re
import shutil

import html5lib
import numpy as np
import pytest
from click.testing import CliRunner

from corpus import units
from corpus.compacted import compacted_folder
from corpus.store import Store
from pipeline.cli import main
from pipeline.report.build import build
from pipeline.report.facts import SCORE_EDGES, ReportError, collect
from pipeline.select import select
from pipeline.status import run_status

HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    "</style></svg><svg onload=alert(1)>\x1b[2J\u202e",
)
OTHER = "laion/another-clap@ba9876543210"


@pytest.fixture(scope="module")
def corpus(small_corpus, tmp_path_factory):
    made = small_corpus(clip_ms=100, sample_rate_hz=16_000)
    return made, made.make(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture
def copy(corpus, tmp_path):
    shutil.copytree(corpus[1].root, tmp_path / "run")
    return Store(str(tmp_path / "run"))


def parsed(page):
    return html5lib.parse(page.decode(), namespaceHTMLElements=False)


def text_of(page):
    return " ".join("".join(parsed(page).itertext()).split())


def test_the_numbers_are_those_of_status_and_select(corpus):
    _, store = corpus
    facts = collect(store.root)
    said = run_status(store).as_json()
    last = next(step for step in facts.steps if step.name == "ok after leg models")
    assert last.clips == said["ok"]
    endings = [ending for step in facts.steps for ending in step.endings]
    found = {f"{one.outcome}/{one.reason}": one.clips for one in endings}
    assert found == said["legs"]["models"]["reasons"]
    assert sum(found.values()) + last.clips == said["planned"] == 36
    for preset in facts.presets:
        view = select(store.root, preset=preset.name)
        assert (preset.clips, preset.hours) == (view.clips, pytest.approx(view.hours, abs=1e-6))
    for number in (said["ok"], said["planned"], *found.values()):
        assert str(number) in text_of(build(store.root))


def test_every_step_is_the_one_before_less_its_endings(corpus):
    steps = collect(corpus[1].root).steps
    for step in steps:
        assert step.clips == step.before - sum(ending.clips for ending in step.endings)
    assert steps[-1].name == "ok after leg models"


def test_the_histogram_and_the_three_lists(corpus):
    made, store = corpus
    facts = collect(store.root, threshold=0.45, examples=5)
    rows = select(store.root, "all").read(["clip_id", "clap_score"]).to_pylist()
    scores = np.array([row["clap_score"] for row in rows], dtype=np.float64)
    assert facts.scored == len(scores)
    np.testing.assert_array_equal(facts.score_counts, np.histogram(scores, SCORE_EDGES)[0])
    order = np.argsort(-scores, kind="stable")
    assert [clip.clip_id for clip in facts.best] == [rows[at]["clip_id"] for at in order[:5]]
    assert [clip.clap_score for clip in facts.worst] == sorted(scores)[:5]
    near = sorted(abs(scores - 0.45))[:5]
    assert [abs(clip.clap_score - 0.45) for clip in facts.nearest] == pytest.approx(near)
    assert facts.model == made.scorer
    assert not facts.thresholds[0].is_own


def test_clips_that_their_score_ended_are_in_the_histogram_and_among_the_worst(small_corpus, tmp_path):
    made = small_corpus(clip_ms=100, sample_rate_hz=16_000)
    scored = made._scored

    def with_a_limit(entry):
        row = scored(entry)
        low = row["outcome"] == "ok" and row["clap_score"] < 0.3
        return {**row, "outcome": "filtered", "reason": "low_clap", "stage": "score"} if low else row

    made._scored = with_a_limit
    store = made.make(tmp_path / "run")
    facts = collect(store.root)
    low = facts.status.as_json()["legs"]["models"]["reasons"]["filtered/low_clap"]
    assert facts.scored == facts.status.as_json()["ok"] + low
    assert facts.worst[0].reason == "low_clap"
    assert "filtered / low_clap" in text_of(build(store.root))


def test_strangers_text_is_text(small_corpus, tmp_path):
    made = small_corpus(
        clip_ms=100,
        sample_rate_hz=16_000,
        titles="\n".join(HOSTILE) + "{n}",
        captions=HOSTILE,
        urls="javascript:alert({n})",
        scorers=('<b onclick="alert(1)">clap</b>@0123456789ab',),
    )
    fetched = made._fetched
    made._fetched = lambda entry: {**fetched(entry), **({"reason": HOSTILE[0]} if "src-002" in str(entry) else {})}
    page = build(made.make(tmp_path / "run").root)
    tree = parsed(page)
    tags = {element.tag for element in tree.iter() if isinstance(element.tag, str)}
    assert not tags & {"script", "img", "iframe", "object", "embed", "link", "base", "form"}
    assert "b" not in tags
    attributes = [(name, value) for element in tree.iter() for name, value in element.attrib.items()]
    assert not [name for name, _ in attributes if str(name).lower().startswith("on")]
    links = [value for name, value in attributes if name in ("href", "src")]
    assert all(link.startswith(("#", "data:audio/ogg;base64,")) for link in links)
    for hostile in HOSTILE[:3]:
        assert hostile in text_of(page)
    assert b"\x1b" not in page
    assert "\u202e" not in page.decode()


def test_web_addresses_are_linked_and_nothing_is_asked_for(corpus):
    page = build(corpus[1].root)
    tree = parsed(page)
    (policy,) = [meta.get("content") for meta in tree.iter("meta") if meta.get("http-equiv")]
    assert policy.startswith("default-src 'none';")
    assert all(link.get("rel") for link in tree.iter("a") if link.get("href", "").startswith("https://example.org/"))
    assert [link for link in tree.iter("a") if link.get("href", "").startswith("https://example.org/")]
    asked = re.findall(rb"(?:src|href|action|poster|data|url\()\s*=?\s*[\"']?(?:https?:)?//[^\"' )>]+", page)
    assert {address.split(b"//")[1].split(b"/")[0] for address in asked} <= {b"example.org"}
    assert b"@import" not in page
    assert b"<metadata" not in page
    assert len(list(tree.iter("audio"))) == 3 * 20
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_a_run_with_nothing_and_one_that_is_only_planned(copy, tmp_path):
    empty = Store(str(tmp_path / "empty"))
    empty.put_if_absent("run.json", b'{"format_version": 1, "name": "bare"}')
    said = text_of(build(empty.root))
    assert "Nothing is planned yet" in said
    for path in copy.list("corpus"):
        copy.delete(path)
    said = text_of(build(copy.root))
    assert "No clip is committed yet" in said
    assert "36 clips planned" in said


def test_a_run_without_scores_says_so(small_corpus, tmp_path):
    store = small_corpus(clip_ms=100, sample_rate_hz=16_000, models=False).make(tmp_path / "run")
    said = text_of(build(store.root))
    assert "No clip has a CLAP score yet" in said
    assert "ok after leg fetch" in said


def test_a_run_in_progress_shows_what_it_has(copy):
    unit = sorted(units.done_units(copy, "models", root=False))[0]
    copy.delete(units.columns_path("models", unit))
    for path in copy.list(compacted_folder("models")):
        copy.delete(path)
    page = build(copy.root)
    assert "leg models has 1 of 3 units still to do" in text_of(page)
    facts = collect(copy.root)
    assert facts.steps[-1].clips == run_status(copy).as_json()["ok"] == select(copy.root, "v").clips


def test_several_scorers_are_told_and_one_is_shown(small_corpus, tmp_path):
    made = small_corpus(clip_ms=100, sample_rate_hz=16_000, scorers=("laion/clap-htsat-fused@0123456789ab", OTHER))
    store = made.make(tmp_path / "run")
    facts = collect(store.root, preset_model=OTHER)
    assert facts.scored == facts.models[OTHER]
    assert {clip.clap_model for clip in facts.best} == {OTHER}
    assert "2 models, which cannot be compared" in text_of(build(store.root))
    with pytest.raises(ReportError, match="holds no score of 'x'; it has"):
        collect(store.root, preset_model="x")


def test_a_preset_that_select_refuses_is_refused_here_too(small_corpus, tmp_path):
    store = small_corpus(clip_ms=100, sample_rate_hz=16_000, scorers=("nameless",)).make(tmp_path / "run")
    assert "name no weights' hash" in text_of(build(store.root))


def test_the_verb_writes_one_file_and_refuses_what_is_no_run(corpus, tmp_path):
    done = CliRunner().invoke(main, ["report", corpus[1].root, "--out", str(tmp_path / "page.html"), "--examples", "2"])
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_bytes().startswith(b"<!doctype html>")
    refused = CliRunner().invoke(main, ["report", str(tmp_path), "--out", str(tmp_path / "none.html")])
    assert refused.exit_code == 2
    assert "not a run folder" in refused.output
    assert not (tmp_path / "none.html").exists()
