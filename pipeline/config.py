"""A recipe: what a run does, typed, with every mistake reported at once.

    recipe = load_recipe("configs/demo.yaml", overrides=["plan.unit_clips=16"])

YAML is read with `yaml.safe_load`. Unknown keys, wrong types, values out of range and stage chains that do not
fit (pipeline/chain.py) are gathered and raised together as one `RecipeError`, each with file and key.

Two kinds of keys. `plan`, `ytdlp` and `legs` decide what the corpus is: a run folder keeps them (pipeline/runfolder.py)
and refuses others. `run`, `sources` and `execution` decide where, from what and how fast: they may change between
two starts of one run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from pipeline.config_sources import GIVING_TYPES, Section, Source
from pipeline.config_ytdlp import YtDlp
from stages.secrets import Mask
from stages.ytdlp_options import YtdlpOptions

Kind = TypeVar("Kind", bound=BaseModel)


class RecipeError(Exception):
    """One or more mistakes in a recipe; `problems` holds a line for each."""

    def __init__(self, file: str, problems: Sequence[str]) -> None:
        self.file = file
        self.problems = list(problems)
        count = "1 mistake" if len(self.problems) == 1 else f"{len(self.problems)} mistakes"
        super().__init__("\n".join([f"{file}: {count}", *(f"  {line}" for line in self.problems)]))


class Plan(Section):
    """From sources to clips: transcript gaps, or a grid where there is no transcript."""

    languages: list[str] = Field(default_factory=lambda: ["en"], min_length=1)
    gap_min_s: float = Field(default=1.0, ge=0.1, le=3600)
    clip_max_s: float = Field(default=10.0, ge=0.5, le=600)
    clip_min_s: float = Field(default=1.0, ge=0.1, le=600)
    pad_s: float = Field(default=0.0, ge=0, le=10)
    leading: bool = True
    trailing: bool = True
    without_transcript: Literal["grid", "skip"] = "skip"
    grid_unknown_duration_max_s: float = Field(default=600.0, ge=1, le=86_400)
    unit_clips: int = Field(default=128, ge=1, le=100_000)
    sources_per_part: int = Field(default=1000, ge=1, le=1_000_000)
    workers: int = Field(default=8, ge=1, le=256)
    on_ray: bool = False

    @model_validator(mode="after")
    def _leaves_room_for_clips(self) -> Plan:
        if self.clip_min_s > self.clip_max_s:
            raise ValueError(
                f"clip_min_s ({self.clip_min_s:g}) is above clip_max_s ({self.clip_max_s:g}): no clip fits"
            )
        return self


class StageSpec(BaseModel):
    """One stage of a leg: `use` is a short name or `module:Class`; the other keys are the stage's own fields."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: str
    pool: str = "models"

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class DedupJob(Section):
    """Copies of clips over the whole corpus. `max_bit_errors` is of an overlap of 10 s; shorter ones get less.

    `near` False: only clips whose samples are equal. `min_overlap`: share of a clip that its kept copy must hold.
    """

    use: Literal["dedup"]
    near: bool = True
    max_bit_errors: float = Field(default=0.33, ge=0.05, le=0.4)
    min_overlap: float = Field(default=0.6, ge=0.3, le=1)


class Leg(Section):
    """A chain of stages, or a job over the whole corpus, with one commit per unit; it starts from the leg `after`."""

    after: str | None = None
    stages: list[StageSpec] = Field(default_factory=list)
    job: DedupJob | None = None
    keep_audio: Literal["all"] | list[Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]] | None = None

    @model_validator(mode="after")
    def _does_one_thing(self) -> Leg:
        if self.keep_audio is not None and self.after is not None:
            raise ValueError("keep_audio belongs to the leg that cuts, which starts from the plan (has no `after`)")
        if bool(self.stages) == (self.job is not None):
            raise ValueError("a leg has stages, or a job: one of the two")
        if self.job is not None and self.after is None:
            raise ValueError("a job starts from another leg: name it in `after`")
        return self

    @model_serializer(mode="wrap")
    def _what_is_said(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Runs that were made before there were jobs, or audio to keep, know a leg without the key."""
        without = {"stages" if self.job is not None else "job"} | ({"keep_audio"} if self.keep_audio is None else set())
        return {key: value for key, value in dump(self).items() if key not in without}


#: Names of a cluster's own resources (`ray start --resources`; CPU and GPU have keys of their own), and how much of
#: each one worker takes.
NodeResources = dict[
    Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,62}$")],
    Annotated[float, Field(gt=0, le=1_000_000)],
]


class Pool(Section):
    """Workers that hold models: a fixed number of actors. `python`: another environment's interpreter for them."""

    workers: int = Field(default=1, ge=1, le=10_000)
    gpus_per_worker: float | None = Field(default=None, ge=0, le=64)
    cpus_per_worker: float | None = Field(default=None, ge=0, le=1024)
    resources: NodeResources = Field(default_factory=dict)
    threads: int = Field(default=1, ge=1, le=256)
    python: str | None = None

    @field_validator("python")
    @classmethod
    def _python_is_there(cls, path: str | None) -> str | None:
        """Ray tries for ever to start workers with an interpreter that is not there."""
        if path is not None and not os.access(path, os.X_OK):
            raise ValueError(f"there is no interpreter {path!r} on this machine (each node needs it at the same path)")
        return path


class Execution(Section):
    """Where and how fast. The corpus is the same, to the byte on one kind of processor and count of `threads`."""

    ray_address: str | None = None
    cpus: int | None = Field(default=None, ge=1, le=1024)
    wave_units: int | None = Field(default=None, ge=1, le=1_000_000)
    follow_idle_s: float | None = Field(default=21_600.0, gt=0)
    #: Below 1: a fetch task waits for the network and the disk a third of its time (benchmarks/fetch_road.py).
    cpus_per_task: float = Field(default=0.66, gt=0, le=64)
    task_resources: dict[str, NodeResources] = Field(default_factory=dict)
    task_retries: int = Field(default=2, ge=0, le=10)
    stage_limit_s: float = Field(default=3600.0, ge=1, le=604_800)
    worker_max_memory_mb: float | None = Field(default=None, ge=100)
    crashes_in_a_row: int = Field(default=5, ge=2, le=1_000_000)
    no_progress_s: float = Field(default=600.0, ge=1, le=604_800)
    cache_dir: str | None = None
    py_modules: list[str] = Field(default_factory=list)
    metrics_port: int | None = Field(default=None, ge=1024, le=65_535)
    pools: dict[str, Pool] = Field(default_factory=dict)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Recipe(Section):
    """The whole of a recipe file."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    run: str
    sources: list[Source] = Field(default_factory=list)
    plan: Plan = Field(default_factory=Plan)
    ytdlp: YtDlp = Field(default_factory=YtDlp)
    legs: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]{1,32}$")], Leg] = Field(min_length=1)
    execution: Execution = Field(default_factory=Execution)

    @property
    def root_leg(self) -> str:
        """The leg that starts from the plan and commits the audio."""
        return next(name for name, leg in self.legs.items() if leg.after is None)

    def pool(self, name: str) -> Pool:
        return self.execution.pools.get(name, Pool())


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override (`section.key=value`, the value as YAML) and check a recipe.

    Raises RecipeError with every problem found. Relative `plugin_dirs`, source paths and `run` are left as
    written: they are relative to the folder the command is started in.
    """
    tree, problems = read_tree(path, overrides)
    recipe, found = _validate(tree, Recipe)
    problems += found
    problems += _leg_problems(tree, recipe)
    if problems:
        raise RecipeError(str(path), problems)
    assert recipe is not None
    return recipe


def load_typed(path: str | Path, overrides: Sequence[str], kind: type[Kind]) -> Kind:
    """A recipe of another kind, read, overridden and checked in the same way."""
    tree, problems = read_tree(path, overrides)
    recipe, found = _validate(tree, kind)
    if recipe is None or problems:
        raise RecipeError(str(path), [*problems, *found])
    return recipe


def read_tree(path: str | Path, overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The file's mapping with the overrides in it, and what is wrong with those. RecipeError for no mapping at all."""
    tree = _read_yaml(Path(path))
    return tree, _apply_overrides(tree, overrides)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(str(path), [f"cannot be read: {error.strerror or error}"]) from error
    except UnicodeDecodeError as error:
        raise RecipeError(str(path), ["is not UTF-8 text"]) from error
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(str(path), [f"is not YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(tree, dict):
        raise RecipeError(str(path), ["must be a mapping with the keys of a recipe, as those in configs/ have them"])
    return tree


def _apply_overrides(tree: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Set `a.b.0.c=value` in place. A number steps into a list; a leg's stage may be named: `legs.fetch.cut.key`."""
    problems = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            problems.append(f"--set {text}: write it as section.key=value")
            continue
        try:
            _set(tree, key.split("."), yaml.safe_load(value))
        except (KeyError, IndexError, ValueError, TypeError) as error:
            problems.append(f"--set {text}: {str(error).strip(chr(39))}")
        except yaml.YAMLError:
            problems.append(f"--set {text}: the value is not YAML")
    return problems


def _set(node: Any, path: list[str], value: Any) -> None:
    *steps, last = path
    for at, step in enumerate(steps):
        node = _step(node, step, ".".join(path[: at + 1]))
    if isinstance(node, list):
        node[int(last)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise TypeError(f"{'.'.join(steps)} holds a value, not a section")


def _step(node: Any, step: str, where: str) -> Any:
    if isinstance(node, list):
        return node[int(step)]
    if not isinstance(node, dict):
        raise TypeError(f"{where} is not a section")
    if step not in node and isinstance(node.get("stages"), list):
        for stage in node["stages"]:
            if isinstance(stage, dict) and stage.get("use") == step:
                return stage
        raise KeyError(f"{where}: no stage of that name in this leg")
    return node.setdefault(step, {})


def _validate(tree: dict[str, Any], kind: type[Kind]) -> tuple[Kind | None, list[str]]:
    try:
        return kind.model_validate(tree), []
    except ValidationError as error:
        return None, [_say(item) for item in error.errors()]


def _say(item: Any) -> str:
    """One pydantic error as `key: what is wrong, what to write`."""
    # sources.<n>.<type>.<key>: the type is pydantic's addition
    typed = len(item["loc"]) > 2 and item["loc"][0] == "sources"
    place = [str(part) for at, part in enumerate(item["loc"]) if part != "[key]" and not (typed and at == 2)]
    key = ".".join(place) or "(recipe)"
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    if item["type"] == "missing":
        return f"{key}: missing"
    given = item.get("input")
    untold = isinstance(given, (dict, list)) or place[-1:] == ["proxy"]  # a proxy may hold a password
    shown = "" if untold else f" (it is {given!r})"
    return f"{key}: {item['msg'][0].lower()}{item['msg'][1:]}{shown}"


def _leg_problems(tree: dict[str, Any], recipe: Recipe | None) -> list[str]:
    """Faults of legs and chains, looked for even when other sections are wrong, so that all are listed together."""
    from pipeline.chain import chain_problems

    legs: dict[str, Leg] = {}
    raw = tree.get("legs")
    if not isinstance(raw, dict):
        return []
    for name, body in raw.items():
        try:
            legs[str(name)] = Leg.model_validate(body)
        except ValidationError:
            continue  # already listed by the whole recipe's own check
    if len(legs) < len(raw):
        return []
    return [*chain_problems(legs, given=_lists_give_clips(tree)), *_unused_problems(tree, legs)]


def _lists_give_clips(tree: dict[str, Any]) -> bool:
    sources = tree.get("sources")
    found = sources if isinstance(sources, list) else []
    return any(str(source.get("type")) in GIVING_TYPES for source in found if isinstance(source, dict))


def _unused_problems(tree: dict[str, Any], legs: dict[str, Leg]) -> list[str]:
    """A pool that no stage names, or resources of a leg that is not there, would do nothing, in silence."""
    execution = tree.get("execution")
    pools, resources = (
        execution.get(key) if isinstance(execution, dict) else None for key in ("pools", "task_resources")
    )
    used = sorted({spec.pool for leg in legs.values() for spec in leg.stages})
    return [
        f"execution.pools.{name}: no stage runs on a pool of that name; there is {', '.join(used)}"
        for name in (pools if isinstance(pools, dict) else {})
        if name not in used
    ] + [
        f"execution.task_resources.{name}: no leg is called so; there is {', '.join(legs)}"
        for name in (resources if isinstance(resources, dict) else {})
        if name not in legs
    ]


def mask_of(recipe: Recipe) -> Mask:
    """Hides the secrets of a recipe's sessions."""
    return YtdlpOptions.from_mapping(recipe.ytdlp.model_dump()).mask()


def plain(value: Any) -> Any:
    """A recipe (or part) as JSON-like values, for hashing and for run.json."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclass_fields(value)}
    return value
