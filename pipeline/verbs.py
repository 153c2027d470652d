"""What each verb of the command line does: call the job, show its progress, print its result, say what comes next.

Progress goes to stderr, results to stdout. Every function returns the exit code.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.display import Display
from pipeline.runfolder import legs_of, open_store, read_record, start_run

if TYPE_CHECKING:
    from corpus.views import View
    from pipeline.config import Recipe
    from pipeline.todo import Partition


def say(text: str = "") -> None:
    """A line of the result."""
    sys.stdout.write(text + "\n")


def run_verb(
    config: str,
    overrides: Sequence[str],
    legs: Sequence[str],
    *,
    share: str = "1/1",
    follow: bool = False,
    force: bool = False,
) -> int:
    from pipeline.config import load_recipe, mask_of
    from pipeline.engine import stop_ray
    from pipeline.estimate.truth import truth_lines
    from pipeline.follow import LegWaits
    from pipeline.governor_actor import snapshot_here
    from pipeline.presence import at_work
    from pipeline.run import LegEnd, UnitDone, run_leg
    from pipeline.runlog import run_log
    from pipeline.sites import SitesTold
    from pipeline.status import run_status
    from pipeline.stopping import Stopped, stoppable

    recipe = load_recipe(config, overrides)
    part = _share(share)
    wanted = _wanted_legs(recipe, legs, part)
    store = start_run(recipe)
    undone, given_up = 0, ""
    further = [*(["--partition", share] if part.of > 1 else []), *(["--follow"] if follow else [])]
    with (
        run_log(store, "run", recipe.execution.log_level, mask_of(recipe)) as log,
        Display() as display,
        SitesTold(log.folder, display.say, snapshot_here) as sites,
    ):
        try:
            with stoppable():
                for leg in wanted:
                    with at_work(store, leg, part, force=force) as presence:
                        for event in run_leg(store, recipe, leg, share=part, follow=follow):
                            display.show(event)
                            if isinstance(event, UnitDone):
                                log.unit(event)
                            elif isinstance(event, LegWaits) and event.given_up:
                                given_up = f"leg {leg} {event.text}"
                            elif isinstance(event, LegEnd):
                                undone += event.undone
                                sites.tell()
                            presence.check()
        except Stopped as stopped:
            stop_ray()
            display.say(f"{stopped}: units in flight were dropped, what is committed stays")
            display.say(f"go on with: {again('run', config, overrides, legs, further)}")
            return stopped.exit_code
        finally:
            stop_ray()
    status = run_status(store)
    for line in status.funnel_lines():
        say(line)
    if undone:
        say(
            f"{undone} units are still to do (see {log.folder}/driver.log); "
            f"go on with: {again('run', config, overrides, legs, further)}"
        )
        return 1
    if given_up:  # parts that nobody has planned are no units yet
        say(f"{given_up}; go on with: {again('run', config, overrides, legs, further)}")
        return 1
    if all(leg.units_done == status.units for leg in status.counts.legs if leg.leg in wanted):  # by all drivers
        for line in truth_lines(store, recipe):
            say(line)
    say(f"next: autorecap select {shlex.quote(recipe.run)} --preset AutoReCapXL")
    return 0


def _wanted_legs(recipe: Recipe, asked: Sequence[str], share: Partition) -> list[str]:
    """The asked legs, or all, in order. A job looks at the whole corpus: of several drivers the last one runs it."""
    from pipeline.config import RecipeError

    unknown = [leg for leg in asked if leg not in recipe.legs]
    if unknown:
        known = ", ".join(recipe.legs)
        raise RecipeError("--leg", [f"no leg is called {leg!r}; the recipe has {known}" for leg in unknown])
    wanted = [leg for leg in recipe.legs if not asked or leg in asked]
    if share.of > 1:
        jobs = [leg for leg in wanted if recipe.legs[leg].job is not None]
        if set(asked) & set(jobs):
            raise RecipeError(
                "--partition", [f"leg {leg} is a job over the whole corpus: run it by one driver" for leg in jobs]
            )
        wanted = [leg for leg in wanted if leg not in jobs]
    return wanted


def _share(text: str) -> Partition:
    from pipeline.config import RecipeError
    from pipeline.todo import Partition

    try:
        return Partition.parse(text)
    except ValueError as error:
        raise RecipeError("--partition", [str(error)]) from error


def status_verb(run: str, *, as_json: bool) -> int:
    from pipeline.status import run_status

    store = open_store(run)
    read_record(store)
    status = run_status(store)
    if as_json:
        say(json.dumps(status.as_json(), indent=2, ensure_ascii=False))
    else:
        for line in [*status.source_lines(), *status.clip_lines(), *status.funnel_lines()]:
            say(line)
    return 0


def sites_verb(run: str) -> int:
    from pipeline.sites import newest

    store = open_store(run)
    read_record(store)
    for line in newest(store):
        say(line)
    return 0


def select_verb(
    run: str,
    *,
    name: str | None,
    preset: str | None,
    clap_min: float | None,
    min_duration_s: float | None,
    where: str | None,
    keep_duplicates: bool = False,
    keep: Sequence[str] = (),
    legs: Sequence[str] = (),
    include_filtered: Sequence[str] = (),
    table: str | None = None,
) -> int:
    from pipeline.select import select, write_table

    view = select(
        run,
        name,
        preset=preset,
        clap_min=clap_min,
        min_duration_s=min_duration_s,
        where=where,
        keep_duplicates=keep_duplicates,
        keep=keep,
        legs=legs,
        include_filtered=include_filtered,
    )
    of = f" (legs {', '.join(view.summary['legs'])})" if legs else ""
    say(f"view {view.name}: {view.clips} clips of {view.sources} sources, {view.hours:.2f} h{of}")
    if without := view.summary["without_audio"]:
        say(f"  {without} filtered clips stay out: their audio was not kept (keep_audio of the leg that cuts)")
    if left_out := view.summary["duplicates_left_out"]:
        say(f"  {left_out} more would be in it, but a copy of them is kept (--keep-duplicates takes them in)")
    for line in example_lines(view):
        say(line)
    if table is not None:
        write_table(view, Path(table))
        say(f"rows in {table}")
    out = shlex.quote(f"{run.rstrip('/')}/shards/{view.name}")
    say(f"next: autorecap export {shlex.quote(run)} --view {view.name} --out {out}")
    return 0


def example_lines(view: View, count: int = 6) -> list[str]:
    """A few clips from all over the view: score, seconds, caption and title, one a line."""
    import numpy as np

    if view.clips == 0:
        return []
    places = np.unique(np.linspace(0, view.clips - 1, count).astype(np.int64))
    names = ["clap_score", "duration_ms", "caption", "title"]
    lines = []
    for row in view.rows(places).select(names).to_pylist():
        score = "     -" if row["clap_score"] is None else f"{row['clap_score']:6.3f}"
        caption = " ".join((row["caption"] or "(no caption)").split())
        title = " ".join((row["title"] or "").split())
        lines.append(f"  {score}  {row['duration_ms'] / 1000:5.1f} s  {caption[:72]}  [{title[:32]}]")
    return lines


def export_verb(
    run: str,
    view: str,
    out: str,
    *,
    format_name: str,
    codec: str,
    sample_rate: int | None,
    shard_clips: int | None,
    shard_mb: float,
    split: str | None,
    seed: int,
    max_clip_s: float | None,
    workers: int | None,
    ray_address: str | None,
) -> int:
    from pipeline.engine import stop_ray
    from pipeline.export import export
    from pipeline.stopping import Stopped, stoppable

    with Display() as display:
        try:
            with stoppable(), display.export() as progress:
                result = export(
                    run,
                    view,
                    out,
                    format=format_name,
                    codec=codec,
                    sample_rate_hz=sample_rate,
                    shard_clips=shard_clips,
                    shard_bytes=int(shard_mb * 1_000_000),
                    split=split_of(split),
                    seed=seed,
                    max_clip_s=max_clip_s,
                    workers=workers,
                    ray_address=ray_address,
                    on_progress=progress,
                )
        except Stopped as stopped:
            display.say(f"{stopped}: shards that are written stay; the same command goes on")
            return stopped.exit_code
        finally:
            stop_ray()
    told = "was there already" if result.already_there else "written"
    size = f"{result.bytes / 1e6:.1f} MB"
    say(f"{told}: {result.samples} samples, {result.hours:.2f} h, {result.shards} shards, {size} in {result.out}")
    for name, counts in result.counts.items():
        say(f"  {name:<8}{counts['clips']:>8} clips {counts['shards']:>6} shards")
    for note in result.notes:
        say(f"  note: {note}")
    say(f"next: autorecap verify {shlex.quote(out)}")
    return 0


def split_of(text: str | None) -> dict[str, float] | None:
    """`90/5/5` as shares of train, valid and test; `90/10` has no test."""
    if text is None:
        return None
    from corpus.shardplan import ExportError

    parts = text.split("/")
    try:
        shares = [float(part) for part in parts]
    except ValueError:
        shares = []
    if not 2 <= len(shares) <= 3:
        raise ExportError(f"--split {text}: write two or three shares, train/valid or train/valid/test, e.g. 90/5/5")
    return dict(zip(("train", "valid", "test"), shares, strict=False))


def verify_verb(path: str, *, decode: bool, sweep: bool) -> int:
    """A folder with a run.json is a run; one with a manifest.json (or its remains) an export, or latents of one."""
    from corpus.sweep import SPARE_S
    from corpus.verify import verify_corpus
    from corpus.verify_shards import verify_shards
    from genau.encode_folder import is_latents
    from pipeline.presence import drivers_at_work

    store = open_store(path)
    if store.exists("run.json"):
        read_record(store)
        spare_s = SPARE_S if drivers_at_work(store) else 0.0
        report = verify_corpus(store, list(legs_of(store)), decode=decode, sweep=sweep, spare_s=spare_s)
    elif is_latents(store):
        from genau.verify_latents import verify_latents

        report = verify_latents(store)
    else:
        report = verify_shards(store.root, decode=decode)
    for line in report.lines():
        say(line)
    say(f"{path}: {'sound' if report.ok else f'{len(report.faults)} checks found faults'}")
    return 0 if report.ok else 1


def again(
    verb: str, config: str, overrides: Sequence[str], legs: Sequence[str] = (), further: Sequence[str] = ()
) -> str:
    """The command line that goes on with this run."""
    words = ["autorecap", verb, config]
    for override in overrides:
        key, _, _ = override.partition("=")
        secret = (key.startswith("ytdlp.") and "proxy" in key) or key == "ytdlp.sessions"
        words += ["--set", f"{key}=..." if secret else override]  # what is told may be kept in somebody's log
    for leg in legs:
        words += ["--leg", leg]
    return shlex.join([*words, *further])
