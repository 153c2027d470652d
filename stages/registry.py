"""From a recipe's stage entry to a stage: short names, users' own classes, checked options.

A user's stage is written `use: my_module:MyStage` and needs nothing but the shape of stages/base.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

from stages.base import Stage

#: Short name in a recipe -> where the class lies. The order is the road's.
BUILT_IN = {
    "fetch": "stages.fetch:Fetch",
    "cut": "stages.cut:Cut",
    "measure": "stages.measure:Measure",
    "hear_speech": "stages.hear_speech:HearSpeech",
    "fingerprint": "stages.fingerprint:FingerprintStage",
    "frame": "stages.frame:Frame",
    "load_audio": "stages.load_audio:LoadAudio",
    "visual_caption": "stages.visual_caption:VisualCaption",
    "embed": "stages.embed:Embed",
    "caption": "stages.caption:Caption",
    "join": "stages.join:Join",
    "keywords": "stages.keywords:Keywords",
    "score": "stages.score:Score",
}


class StageError(Exception):
    """A stage entry that cannot be built; `problems` are lines of `key: what is wrong`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def stage_class(use: str) -> type[Any]:
    """The class behind a short name or a `module:Class`; StageError when there is none."""
    target = BUILT_IN.get(use, use)
    module_name, colon, class_name = target.partition(":")
    if not colon:
        raise StageError([f"use: no stage is called {use!r}; there are {', '.join(BUILT_IN)}, or module:Class"])
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise StageError([f"use: {use!r} cannot be loaded: {error}"]) from error
    missing = [name for name in ("reads", "adds", "needs", "open", "run", "close") if not hasattr(found, name)]
    if missing:
        raise StageError([f"use: {use!r} is no stage: it has no {', '.join(missing)} (see stages/base.py)"])
    return found  # type: ignore[no-any-return]


def build_stage(use: str, options: Mapping[str, Any]) -> Stage:
    """The stage with its fields set from `options`; StageError lists every unknown key and bad value."""
    from pydantic import TypeAdapter, ValidationError

    cls = stage_class(use)
    if not is_dataclass(cls):
        return cast(Stage, cls(**options))
    known = [f.name for f in fields(cls)]
    problems = [
        f"{key}: unknown key; {use} takes {', '.join(known) or 'no keys'}" for key in options if key not in known
    ]
    good = {key: value for key, value in options.items() if key in known}
    try:
        stage = TypeAdapter(cls).validate_python(good)
    except ValidationError as error:
        for item in error.errors():
            key = ".".join(str(part) for part in item["loc"]) or "(stage)"
            problems.append(f"{key}: {item['msg'][0].lower()}{item['msg'][1:]} (it is {item.get('input')!r})")
    if problems:
        raise StageError(problems)
    return cast(Stage, stage)
