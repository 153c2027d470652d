"""The list of a plan: each source once, whatever the number of sources, and what was left out is written down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corpus import plan_store
from corpus.store import Store
from pipeline.config import Recipe
from pipeline.plan import PlanError
from pipeline.plan_list import REPORT_PATH, Keys, list_sources
from pipeline.sources import SourceError


def recipe_of(*sources: dict, **rules) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "listed",
            "run": "unused",
            "sources": list(sources),
            "plan": rules,
            "legs": {"fetch": {"stages": [{"use": "fetch"}]}},
        }
    )


def keys_of(store: Store) -> list[str]:
    return [
        key
        for part in plan_store.parts(store)
        for key in plan_store.read_inputs(store, part, ["source_key"]).column(0).to_pylist()
    ]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "run"))


def test_keys_are_new_known_or_duplicates():
    with Keys() as keys:
        keys.add_known(["a", "b"])
        assert keys.kinds_of(["a", "c", "a", "c", "d"]) == ["known", "new", "duplicates", "duplicates", "new"]
        assert keys.kinds_of(["c", "b", "e"]) == ["duplicates", "known", "new"]
        many = [f"key {n}" for n in range(20_000)]  # more than one statement takes
        assert set(keys.kinds_of(many)) == {"new"}
        assert set(keys.kinds_of(many[::-1])) == {"duplicates"}


def test_parts_are_full_and_in_listed_order(store: Store, tmp_path: Path):
    path = tmp_path / "list.txt"
    urls = [f"https://example.com/{n}" for n in range(9000)]
    path.write_text("\n".join([*urls, urls[17], urls[0] + "#t=3"]))
    recipe = recipe_of({"type": "urls", "path": str(path)}, sources_per_part=2500)
    listed = list_sources(recipe, store)
    assert (listed.new, listed.known, listed.duplicates) == (9000, 0, 2)
    assert [plan_store.count_inputs(store, part) for part in plan_store.parts(store)] == [2500, 2500, 2500, 1500]
    assert keys_of(store) == urls
    again = list_sources(recipe, store)
    assert (again.new, again.known, again.duplicates) == (0, 9000, 2)
    assert len(plan_store.parts(store)) == 4


def test_what_a_list_left_out_is_written_down(store: Store, tmp_path: Path):
    path = tmp_path / "list.json"
    path.write_text(
        '{"dQw4w9WgXcQ": {"intervals": [{"start": 0, "end": 5, "text": "x", "CLAP_SIM": 0.5},'
        ' {"start": 5, "end": 9, "text": "y", "CLAP_SIM": 0.1}]}},\n{broken\n'
    )
    listed = list_sources(recipe_of({"type": "autorecap", "path": str(path), "min_clap": 0.4}), store)
    (told,) = json.loads(store.read(REPORT_PATH))
    assert told == listed.reports[0].as_json()
    assert (told["clips"], told["left_out"], told["broken_lines"]) == (1, {"below_min_clap": 1}, 1)
    assert told["first_broken"] == ["line 2: not JSON"]


def test_a_list_without_anything_to_plan_writes_nothing(store: Store, tmp_path: Path):
    path = tmp_path / "list.json"
    path.write_text("{broken\n" * 3)
    with pytest.raises(SourceError, match="broken lines: 3 of 3; line 1: not JSON"):
        list_sources(recipe_of({"type": "autorecap", "path": str(path)}), store)
    assert store.list() == []


def test_another_plan_of_the_same_run_is_noticed(store: Store, monkeypatch: pytest.MonkeyPatch):
    recipe = recipe_of({"type": "urls", "items": ["https://example.com/a"]})
    there = plan_store.parts
    list_sources(recipe_of({"type": "urls", "items": ["https://example.com/b"]}), store)
    monkeypatch.setattr(plan_store, "parts", lambda store: there(store)[:-1])  # it came between the look and the write
    with pytest.raises(PlanError, match="listed by another `plan`"):
        list_sources(recipe, store)


def test_a_folder_with_a_name_keeps_its_keys_when_it_moves(store: Store, tmp_path: Path):
    for place in ("here", "there/deeper"):
        (tmp_path / place / "sub").mkdir(parents=True)
        (tmp_path / place / "sub" / "a.ogg").write_bytes(b"x")
    named = [{"type": "folder", "path": str(tmp_path / place), "name": "mine"} for place in ("here", "there/deeper")]
    assert list_sources(recipe_of(named[0]), store).new == 1
    moved = list_sources(recipe_of(named[1]), store)
    assert (moved.new, moved.known) == (0, 1)
    assert keys_of(store) == ["mine/sub/a.ogg"]
