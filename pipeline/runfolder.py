"""The run folder's own record: which recipe it was made with, and what may differ when it is used again.

`run.json` is put in place once, by the first command that writes to the folder. `plan` may not change after that;
a leg may not change once it has committed a unit (its definition is put under `corpus/legs/<leg>.json`).
`run`, `sources`, `ytdlp` and `execution` may change between two starts: they say where, from what and how fast.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from corpus import units
from corpus.differences import differences
from corpus.store import Store, StoreError
from pipeline.config import Recipe, plain

FORMAT_VERSION = 1


class OtherRun(Exception):
    """The folder belongs to another recipe or plan; the message lists what differs."""


def open_store(run: str) -> Store:
    """The store of a run folder; local paths are made absolute, since workers may stand in another folder."""
    if "://" not in run:
        return Store(str(Path(run).resolve()))
    if urlsplit(run).password is not None:
        raise StoreError(
            f"a password stands in the URL of {urlsplit(run).hostname}: it would be in every log and manifest; "
            "credentials belong in the environment or in fsspec's configuration (docs/stores.md)"
        )
    return Store(run)


@contextmanager
def _reaching(store: Store) -> Iterator[None]:
    """An object store that cannot be used says so in many classes; whoever mistyped a bucket gets one sentence."""
    try:
        yield
    except Exception as error:
        if store.local() is not None or isinstance(error, OtherRun):
            raise
        raise StoreError(
            f"{store.root} cannot be used ({type(error).__name__}: {error}): is the bucket there, are endpoint and "
            "credentials set, is the extra for this kind of store installed? See docs/stores.md"
        ) from error


def start_run(recipe: Recipe) -> Store:
    """The recipe's run folder, made if new; OtherRun when it was planned by other rules."""
    store = open_store(recipe.run)
    record = {"format_version": FORMAT_VERSION, "name": recipe.name, "plan": plain(recipe.plan)}
    with _reaching(store):
        store.put_if_absent("run.json", _to_bytes(record))
    there = read_record(store)
    if there["format_version"] != FORMAT_VERSION:
        raise OtherRun(f"{recipe.run} has format {there['format_version']}; this version reads {FORMAT_VERSION}")
    _refuse_difference(recipe.run, "plan", _of_the_plan(there["plan"]), _of_the_plan(record["plan"]))
    return store


def read_record(store: Store) -> dict[str, Any]:
    """run.json; OtherRun when the folder is no run."""
    with _reaching(store):
        try:
            record = json.loads(store.read("run.json"))
        except FileNotFoundError as error:
            raise OtherRun(
                f"{store.root} is not a run folder: it has no run.json; start with autorecap plan"
            ) from error
    if not isinstance(record, dict) or "format_version" not in record:
        raise OtherRun(f"{store.root}/run.json is not a run's record")
    return record


def start_leg(store: Store, recipe: Recipe, leg: str) -> str:
    """Record a leg's definition and return its hash; OtherRun when units were committed by another one.

    Until the first commit it may be mended: a model's mistyped name must not cost the run folder. A job's may be
    changed at any time: its columns are then made anew.
    """
    path = f"corpus/legs/{leg}.json"
    definition = plain(recipe.legs[leg])
    store.put_if_absent(path, _to_bytes(definition))
    there = json.loads(store.read(path))
    job = "job" in there and "job" in definition
    if there != definition and (job or not units.done_units(store, leg, root=recipe.legs[leg].after is None)):
        store.replace(path, _to_bytes(definition))
        there = definition
    _refuse_difference(str(store.root), f"legs.{leg}", there, definition)
    return hashlib.sha256(_to_bytes(definition)).hexdigest()


def legs_of(store: Store) -> dict[str, dict[str, Any]]:
    """The legs that have started in this run, as recorded; each behind the one it starts from."""
    left = {}
    for path in store.list("corpus/legs"):
        if path.endswith(".json"):
            left[Path(path).stem] = json.loads(store.read(path))
    ordered: dict[str, dict[str, Any]] = {}
    while ready := [name for name, leg in left.items() if leg.get("after") is None or leg["after"] in ordered]:
        ordered.update({name: left.pop(name) for name in ready})
    return ordered


def retries_of(legs: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """For each leg that is no job: the legs whose retries it takes up, root leg first, itself the last."""
    chains: dict[str, list[str]] = {}
    for name, leg in legs.items():
        before = leg.get("after")
        while before is not None and "job" in legs[before]:
            before = legs[before].get("after")
        if "job" not in leg:
            chains[name] = [*(chains[before] if before is not None else []), name]
    return chains


def _of_the_plan(section: Mapping[str, Any]) -> dict[str, Any]:
    """Without who makes it: how many workers, and where, changes nothing of the plan."""
    return {key: value for key, value in section.items() if key not in {"workers", "on_ray"}}


def _refuse_difference(run: str, where: str, there: Any, here: Any) -> None:
    lines = [f"  {line}" for line in differences(there, here, where)]
    if lines:
        raise OtherRun(
            "\n".join(
                [
                    f"{run} was made with another recipe:",
                    *lines,
                    "  use the recipe it was made with, or another run folder (--set run=...)",
                ]
            )
        )


def _to_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
