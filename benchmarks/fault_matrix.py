"""Every behaviour of a site, really run: what it comes to, and whether a retry recovers it once the site is right.

    python -m benchmarks.fault_matrix               # compares with what is stated, and writes docs/faults.md

One run folder over all sites of benchmarks/fault_behaviours.py: plan and run while they misbehave; then they are put
right, `retry --reason transient`, plan and run; then `retry --reason all`, plan and run. Exit code 1 when anything has
come to something else than is stated: nothing is written then.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fault_behaviours import BEHAVIOURS, Behaviour, site_of
from benchmarks.fault_site import FaultSite
from corpus import plan_store
from corpus.latest import latest_clips, latest_sources
from corpus.store import Store
from corpus.verify import verify_corpus
from pipeline.advice import is_transient
from pipeline.config import Recipe
from pipeline.legjob import commit, read_unit
from pipeline.plan import plan
from pipeline.retry import retry
from pipeline.run import leg_job, run_leg
from pipeline.runfolder import start_run
from pipeline.todo import Todo
from pipeline.worker import UnitRunner, UnitTally

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = ROOT / "tests" / "data" / "ytdlp_plugins"
PAGE = ROOT / "docs" / "faults.md"

#: Short waits; the site's own limits do not matter here.
YTDLP = {
    "plugin_dirs": [str(PLUGINS)],
    "timeout_s": 1.5,
    "retries": 1,
    "backoff_s": 0.05,
    "cool_down_s": 0.1,
    "requests_per_s": 50,
    "allow_private_addresses": ["127.0.0.1/32"],
}


#: Runs a leg; its events may have an `error`.
Work = Callable[[Store, Recipe, str], Iterable[Any]]


@dataclass
class Matrix:
    """What each behaviour came to, round by round, and what differs from what is stated."""

    rounds: list[dict[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    clips: int = 0


def recipe_of(run: str, listed: Path) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "faults",
            "run": run,
            "sources": [{"type": "urls", "path": str(listed)}],
            "plan": {"clip_max_s": 4.0, "pad_s": 0.0, "unit_clips": 12, "workers": 16, "without_transcript": "grid"},
            "ytdlp": YTDLP,
            "legs": {"fetch": {"stages": [{"use": "fetch", "max_download_s": 2.0}, {"use": "cut"}]}},
        }
    )


def work_here(store: Store, recipe: Recipe, leg: str) -> Iterator[UnitTally]:
    """A leg's units on threads of this process: what Ray's tasks do, without Ray."""
    job = leg_job(store, recipe, leg)

    def work(unit_id: str) -> UnitTally:
        unit = read_unit(job, unit_id)
        for group in range(len(job.groups)):
            unit = UnitRunner(job.links(group), job.services(group)).run(unit)
        (row,) = commit(job, unit).to_pylist()
        return UnitTally.from_json(row["tally"])

    with ThreadPoolExecutor(8) as pool:
        yield from pool.map(work, [info.unit_id for info in Todo(store, recipe, leg).units()])


def run_matrix(folder: Path, behaviours: Sequence[Behaviour] = BEHAVIOURS, work: Work = work_here) -> Matrix:
    """Try the behaviours in a run folder below `folder`; `work` runs a leg (`run_leg`: on Ray, if that is started)."""
    started = time.monotonic()
    matrix = Matrix()
    with ExitStack() as stack:
        sites = {behaviour.name: site_of(behaviour) for behaviour in behaviours}
        for site in sites.values():
            stack.callback(site.close)
        listed = folder / "sources.txt"
        listed.write_text("".join(f"{site.url}/watch/{name}\n" for name, site in sites.items()))
        recipe = recipe_of(str(folder / "run"), listed)
        store = start_run(recipe)
        _plan_and_run(recipe, store, sites, matrix, work)
        for site in sites.values():
            site.mended = True
        for reason in ("transient", "all"):
            retry(recipe.run, reasons=[reason])
            _plan_and_run(recipe, store, sites, matrix, work)
        if not retry(recipe.run, reasons=["all"]).nothing:
            matrix.wrong.append("after all was tried again something has failed still")
    report = verify_corpus(store, ["fetch"])
    matrix.wrong += [f"verify: {check.name}: {check.detail}" for check in report.faults]
    matrix.clips = sum(info.rows for info in plan_store.iter_units(store))
    for behaviour in behaviours:
        _compare(behaviour, [of[behaviour.name] for of in matrix.rounds], matrix)
    matrix.seconds = time.monotonic() - started
    return matrix


def _plan_and_run(recipe: Recipe, store: Store, sites: Mapping[str, FaultSite], matrix: Matrix, work: Work) -> None:
    plan(recipe, store)
    for event in work(store, recipe, "fetch"):
        if error := getattr(event, "error", None):
            matrix.wrong.append(f"a unit was not committed: {error}")
    matrix.rounds.append(came_to(store, sites))


def came_to(store: Store, sites: Mapping[str, FaultSite]) -> dict[str, str]:
    """Behaviour -> `source <reason>`, `ended <reason>`, or what its clips have come to, with their number."""
    names = {f"{site.url}/watch/{name}": name for name, site in sites.items()}
    found: dict[str, str] = {}
    for _, rows in latest_sources(store, ["source_key", "outcome", "reason"]):
        for row in rows.to_pylist():
            kind = {"failed": "source", "ended": "ended"}.get(row["outcome"])
            if kind is not None:
                found[names[row["source_key"]]] = f"{kind} {row['reason']}"
    clips: dict[str, Counter[str]] = {}
    for rows in latest_clips(store, "fetch", ["source_key", "outcome", "reason"], root=True):
        for row in rows.to_pylist():
            word = "ok" if row["outcome"] == "ok" else row["reason"]
            clips.setdefault(names[row["source_key"]], Counter())[word] += 1
    for name, words in clips.items():
        found[name] = ", ".join(f"clips {word} ({count})" for word, count in sorted(words.items()))
    return found


def _compare(behaviour: Behaviour, rounds: Sequence[str], matrix: Matrix) -> None:
    recovered = _stated(behaviour.after, behaviour)
    first = _stated(behaviour.ends, behaviour)
    stated = [first, recovered if is_transient(behaviour.reason) else first, recovered]
    for when, was, should in zip(("at first", "after retry transient", "after retry all"), rounds, stated, strict=True):
        if was != should:
            matrix.wrong.append(f"{behaviour.what}, {when}: {was}; stated is {should}")


def _stated(ending: str, behaviour: Behaviour) -> str:
    """Clips with their number. A site that is put right serves the one caption file that leaves two gaps."""
    if not ending.startswith("clips ") or "(" in ending:
        return ending
    count = behaviour.clips if behaviour.ends.startswith("clips ") or behaviour.captions is None else 2
    return f"{ending} ({count})"


def page(matrix: Matrix, behaviours: Sequence[Behaviour] = BEHAVIOURS) -> str:
    """docs/faults.md."""
    lines = [
        "# What sites do, and what becomes of it",
        "",
        "Written by `python -m benchmarks.fault_matrix` from a real run over one loopback site per row; it fails when",
        "anything comes to something else than is stated in `benchmarks/fault_behaviours.py`. Each source has 12 s of",
        "sound, so three clips of 4 s, or two where captions leave two gaps. `ends as` is what plan and run make of it",
        "while the site misbehaves (1.5 s of patience, one try more); then every site is put right, and what has",
        "failed is tried again: first `autorecap retry RUN --reason transient`, then `--reason all`.",
        "",
        "| the site | met in | ends as | transient | after it was put right: retry transient | retry all |",
        "|---|---|---|---|---|---|",
    ]
    for behaviour in behaviours:
        first, second, third = (of[behaviour.name] for of in matrix.rounds)
        word = behaviour.reason
        kind = "" if word in ("ok", "opted_out") else "yes" if is_transient(word) else "no"
        by_transient, by_all = ("" if was == first else was for was in (second, third))
        if kind == "no":
            by_transient = "not tried"
        elif by_transient:
            by_all = ""
        lines.append(f"| {behaviour.what} | {behaviour.at} | {first} | {kind} | {by_transient} | {by_all} |")
    recovered = sum(of[0] != of[2] for of in _columns(matrix, behaviours))
    lines += [
        "",
        f"{len(behaviours)} behaviours, {matrix.clips} clips in the end. {recovered} behaviours lost something, and a",
        "retry brought all of it back. Then `autorecap verify` finds the run sound, and a further retry nothing to do.",
        "What each reason means: `stages/faults.py`. What to do about it: `autorecap status RUN --failures`.",
        "",
    ]
    return "\n".join(lines)


def _columns(matrix: Matrix, behaviours: Sequence[Behaviour]) -> list[list[str]]:
    return [[of[behaviour.name] for of in matrix.rounds] for behaviour in behaviours]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=PAGE, help="where the page is written")
    options: Any = parser.parse_args(arguments)
    from pipeline.engine import ensure_ray, stop_ray

    ensure_ray(num_cpus=2)
    try:
        with tempfile.TemporaryDirectory() as folder:
            matrix = run_matrix(Path(folder), work=run_leg)
    finally:
        stop_ray()
    for line in matrix.wrong:
        print(line, file=sys.stderr)
    print(f"{len(BEHAVIOURS)} behaviours, {len(matrix.wrong)} not as stated, {matrix.seconds:.1f} s")
    if not matrix.wrong:
        options.out.write_text(page(matrix), encoding="utf-8")
    return 1 if matrix.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
