"""The verb `plan`: make a plan, or ask a sample of the sources only; both end with what the run will cost."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.display import Display
from pipeline.estimate.truth import ESTIMATE_PATH
from pipeline.runfolder import start_run
from pipeline.verbs import again, say

if TYPE_CHECKING:
    from corpus.store import Store
    from pipeline.config import Recipe
    from pipeline.estimate.facts import PlanFacts
    from pipeline.estimate.probe import ModelRate
    from pipeline.sources import ListReport

#: A probe of a small plan takes so large a share of its clips, so that it stays short beside the run.
PROBE_SHARE = 4


def plan_verb(config: str, overrides: Sequence[str], *, probe: int | None, rates: Sequence[str]) -> int:
    from pipeline.config import load_recipe, mask_of
    from pipeline.estimate.costs import estimate
    from pipeline.estimate.facts import plan_facts
    from pipeline.estimate.shown import estimate_lines
    from pipeline.governor_actor import snapshot_here
    from pipeline.plan import plan
    from pipeline.runlog import run_log
    from pipeline.sites import SitesTold
    from pipeline.status import run_status
    from pipeline.stopping import Stopped, stoppable

    recipe = load_recipe(config, overrides)
    stated = stated_rates(recipe, rates)
    store = start_run(recipe)
    with (
        run_log(store, "plan", recipe.execution.log_level, mask_of(recipe)) as log,
        Display() as display,
        SitesTold(log.folder, display.say, snapshot_here),
    ):
        try:
            with stoppable(), display.plan() as progress:
                result = plan(recipe, store, on_progress=progress)
        except Stopped as stopped:
            display.say(f"{stopped}: parts that are planned stay; go on with: {again('plan', config, overrides)}")
            return stopped.exit_code
        finally:
            if recipe.plan.on_ray:
                from pipeline.engine import stop_ray

                stop_ray()
        status = run_status(store)
        _say_lists(result.known, result.duplicates, result.lists)
        for line in status.source_lines():
            say(line)
        say(f"planned: {status.planned} clips ({status.planned_hours:.2f} h) in {status.units} units")
        facts = plan_facts(store)
        known = {} if result.parts or probe else known_rates(store)
        costs = estimate(facts, recipe, model_rates(recipe, facts, probe, {**known, **stated}))
        store.replace(ESTIMATE_PATH, (json.dumps(costs.as_json(), indent=2) + "\n").encode())
    for line in estimate_lines(costs):
        say(line)
    say(f"next: {again('run', config, overrides)}")
    return 0


def dry_run_verb(
    config: str, overrides: Sequence[str], *, sample: int, probe: int | None, rates: Sequence[str], as_json: bool
) -> int:
    from pipeline.config import load_recipe
    from pipeline.estimate.costs import estimate
    from pipeline.estimate.dry_run import sample_sources
    from pipeline.estimate.shown import estimate_lines
    from pipeline.stopping import Stopped, stoppable

    recipe = load_recipe(config, overrides)
    stated = stated_rates(recipe, rates)
    with Display() as display:
        try:
            with stoppable(), display.plan() as progress:
                facts, asked, listed = sample_sources(recipe, sample, progress)
        except Stopped as stopped:
            return stopped.exit_code
    costs = estimate(facts, recipe, model_rates(recipe, facts, probe, stated), sampled=asked)
    if as_json:
        say(json.dumps(costs.as_json(), indent=2))
        return 0
    _say_lists(listed.known, listed.duplicates, listed.reports)
    for line in estimate_lines(costs):
        say(line)
    say(f"nothing is written; next: {again('plan', config, overrides)}")
    return 0


def _say_lists(known: int, duplicates: int, reports: Sequence[ListReport]) -> None:
    for report in reports:
        for line in report.text():
            say(line)
    if known:
        say(f"{known} sources were in the plan already")
    if duplicates:
        say(f"{duplicates} duplicate entries of the source list were planned once")


def stated_rates(recipe: Recipe, texts: Sequence[str]) -> dict[str, ModelRate]:
    """Leg -> rate, from `LEG=CLIPS_PER_S`. RecipeError for what is no such thing."""
    from pipeline.config import RecipeError
    from pipeline.estimate.probe import ModelRate

    stated = {}
    for text in texts:
        leg, _, value = text.partition("=")
        try:
            rate = float(value)
        except ValueError:
            rate = 0.0
        if leg not in recipe.legs or not 0 < rate < 1e9:
            raise RecipeError(
                "--rate", [f"{text!r}: write LEG=CLIPS_PER_S, e.g. models=473; legs: {', '.join(recipe.legs)}"]
            )
        stated[leg] = ModelRate(leg, rate, "as stated")
    return stated


def known_rates(store: Store) -> dict[str, ModelRate]:
    """Leg -> rate, as the last plan of this run probed it: a plan that finds nothing new need not probe again."""
    from pipeline.estimate.probe import ModelRate

    try:
        models = json.loads(store.read(ESTIMATE_PATH))["models"]
        rates = [ModelRate(model["leg"], model["clips_per_s"], model["told"]) for model in models]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}
    return {rate.leg: rate for rate in rates if rate.clips_per_s}


def model_rates(recipe: Recipe, facts: PlanFacts, probe: int | None, stated: dict[str, ModelRate]) -> list[ModelRate]:
    """Of every model leg: stated, or probed here with `probe` clips (None: as many as suit the plan; 0: not at all)."""
    from pipeline.estimate.probe import PROBE_CLIPS, ModelRate, model_legs, probe_leg

    clips = min(PROBE_CLIPS, facts.clips // PROBE_SHARE) if probe is None else probe
    clip_ms = max(1000, min(60_000, facts.audio_ms // facts.clips)) if facts.clips else 10_000
    rates = []
    for leg in model_legs(recipe):
        if leg not in stated and clips:
            sys.stderr.write(f"probing leg {leg} with up to {clips} clips of {clip_ms / 1000:.1f} s\n")
            stated[leg] = probe_leg(recipe, leg, clip_ms=clip_ms, clips=clips)
        rates.append(stated.get(leg) or ModelRate(leg, None, "not probed: give --probe CLIPS, or --rate"))
    return rates
