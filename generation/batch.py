"""A list of prompts to a folder of sounds: candidates made together, the best kept, what is there passed over.

make_sounds(generator, scorer, Job(asked, Path("out"), Settings(), candidates=3), on_made=print)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from generation.errors import GenerationError
from generation.generator import Generator, Prompt, Settings
from generation.naming import file_names, reference_name
from generation.prompts import Asked
from generation.rerank import best, clap_scores
from generation.sounds import is_there, write_sound
from generation.spectrogram import png
from scorer.load import Scorer, model_name


@dataclass(frozen=True)
class Job:
    asked: Sequence[Asked]
    out: Path
    settings: Settings
    candidates: int = 1
    picture: bool = False


@dataclass(frozen=True)
class Made:
    """What became of one prompt. `scores` has one for each candidate, none where nothing scores."""

    name: str
    asked: Asked
    scores: tuple[float, ...] = ()
    chosen: int = 0
    was_there: bool = False


@dataclass(frozen=True)
class _Task:
    name: str
    asked: Asked
    draws: tuple[Prompt, ...]
    made_of: dict[str, Any]


def make_sounds(
    generator: Generator,
    scorer: Scorer | None,
    job: Job,
    on_made: Callable[[Made], None] = lambda _: None,
    on_progress: Callable[[float], None] = lambda _: None,
) -> None:
    """`on_progress` gets how many prompts are done, parts of one included. GenerationError, OSError."""
    if scorer is None and job.candidates > 1:
        raise GenerationError("several candidates need a scorer that says which is best; give one, or one candidate")
    job.out.mkdir(parents=True, exist_ok=True)
    tasks = list(_tasks(generator, scorer, job))
    missing = []
    for task in tasks:
        if is_there(job.out, task.name, task.made_of, picture=job.picture):
            on_made(Made(task.name, task.asked, was_there=True))
        else:
            missing.append(task)
    done, at = len(tasks) - len(missing), 0
    on_progress(done)
    while at < len(missing):
        chunk = missing[at : at + max(generator.clips_at_once // job.candidates, 1)]
        at += len(chunk)
        prompts = [prompt for task in chunk for prompt in task.draws]
        waves = generator.generate(prompts, job.settings, _within(on_progress, done, len(chunk)))
        for task, candidates in zip(chunk, np.split(waves, len(chunk)), strict=True):
            on_made(_keep(generator, scorer, job, task, candidates))
        done += len(chunk)
        on_progress(done)


def _within(on_progress: Callable[[float], None], done: int, count: int) -> Callable[[float], None]:
    return lambda share: on_progress(done + share * count)


def _tasks(generator: Generator, scorer: Scorer | None, job: Job) -> Iterator[_Task]:
    """A prompt that is there several times gets other draws each time."""
    seen: Counter[str] = Counter()
    for name, asked in zip(file_names(job.asked), job.asked, strict=True):
        first = seen[asked.text] * job.candidates if job.settings.seeds == "prompt" else 0
        seen[asked.text] += 1
        told = reference_name(asked)
        draws = tuple(Prompt(asked.text, first + number, told) for number in range(job.candidates))
        yield _Task(name, asked, draws, _made_of(generator, scorer, job, draws))


def _made_of(generator: Generator, scorer: Scorer | None, job: Job, draws: Sequence[Prompt]) -> dict[str, Any]:
    """Everything that the sound follows from."""
    return {
        "prompt": draws[0].text,
        "draws": [prompt.draw for prompt in draws],
        "name": draws[0].name if job.settings.seeds == "name" else "",
        "settings": asdict(job.settings),
        "model": {"id": generator.model_id, "weights_sha256": generator.weights_sha256, **generator.about},
        "scorer": None if scorer is None else model_name(scorer),
    }


def _keep(generator: Generator, scorer: Scorer | None, job: Job, task: _Task, waves_NS: np.ndarray) -> Made:
    rate = generator.sample_rate_hz
    scores = [] if scorer is None else clap_scores(scorer, task.asked.text, waves_NS, rate)
    chosen = best(scores) if scores else 0
    told = {
        "id": task.asked.id,
        "prompt": task.asked.text,
        "draw": task.draws[chosen].draw,
        "clap_scores": [round(score, 6) for score in scores],
    }
    picture = png(waves_NS[chosen], rate, task.asked.text) if job.picture else None
    write_sound(job.out, task.name, waves_NS[chosen], rate, task.made_of, told, picture)
    return Made(task.name, task.asked, tuple(scores), chosen)
