"""What each verb of the command line does: call the job, show its progress, print its result, say what comes next.

Progress goes to stderr, results to stdout. Every function returns the exit code.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from pipeline.display import Display
from pipeline.runfolder import legs_of, open_store, read_record, start_run


def say(text: str = "") -> None:
    """A line of the result."""
    sys.stdout.write(text + "\n")


def plan_verb(config: str, overrides: Sequence[str]) -> int:
    from pipeline.config import load_recipe
    from pipeline.plan import plan
    from pipeline.runlog import run_log
    from pipeline.status import run_status

    recipe = load_recipe(config, overrides)
    store = start_run(recipe)
    with run_log(store, "plan", recipe.execution.log_level), Display() as display:
        with display.plan() as progress:
            result = plan(recipe, store, on_progress=progress)
        status = run_status(store)
    if result.duplicates:
        say(f"{result.duplicates} duplicate entries of the source list were planned once")
    for line in status.source_lines():
        say(line)
    say(f"planned: {status.planned} clips ({status.planned_hours:.2f} h) in {status.units} units")
    say(f"next: {again('run', config, overrides)}")
    return 0


def run_verb(config: str, overrides: Sequence[str], legs: Sequence[str]) -> int:
    from pipeline.config import load_recipe
    from pipeline.engine import stop_ray
    from pipeline.run import LegEnd, UnitDone, run_leg
    from pipeline.runlog import run_log
    from pipeline.status import run_status
    from pipeline.stopping import Stopped, stoppable

    recipe = load_recipe(config, overrides)
    wanted = _wanted_legs(list(recipe.legs), legs)
    store = start_run(recipe)
    undone = 0
    with run_log(store, "run", recipe.execution.log_level) as log, Display() as display:
        try:
            with stoppable():
                for leg in wanted:
                    for event in run_leg(store, recipe, leg):
                        display.show(event)
                        if isinstance(event, UnitDone):
                            log.unit(event)
                        elif isinstance(event, LegEnd):
                            undone += event.undone
        except Stopped as stopped:
            stop_ray()
            display.say(f"{stopped}: units in flight were dropped, what is committed stays")
            display.say(f"go on with: {again('run', config, overrides, legs)}")
            return stopped.exit_code
        finally:
            stop_ray()
    for line in run_status(store).funnel_lines():
        say(line)
    if undone:
        say(
            f"{undone} units are still to do (see {log.folder}/driver.log); go on with: {again('run', config, overrides, legs)}"
        )
        return 1
    say(f"next: autorecap select {shlex.quote(recipe.run)} --preset AutoReCapXL")
    return 0


def _wanted_legs(known: list[str], asked: Sequence[str]) -> list[str]:
    from pipeline.config import RecipeError

    unknown = [leg for leg in asked if leg not in known]
    if unknown:
        raise RecipeError("--leg", [f"no leg is called {leg!r}; the recipe has {', '.join(known)}" for leg in unknown])
    return [leg for leg in known if not asked or leg in asked]


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


def again(verb: str, config: str, overrides: Sequence[str], legs: Sequence[str] = ()) -> str:
    """The command line that goes on with this run."""
    words = ["autorecap", verb, config]
    for override in overrides:
        words += ["--set", override]
    for leg in legs:
        words += ["--leg", leg]
    return shlex.join(words)
