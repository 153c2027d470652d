"""The verbs `genau generate` and `genau demo`. Results to stdout, progress and faults to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pipeline.shown import one_line
from pipeline.verbs import say

if TYPE_CHECKING:
    from genau.generate import GenauGenerator
    from generation.batch import Made
    from generation.prompts import Asked
    from scorer.load import Scorer


def generate_verb(
    prompts: Sequence[str],
    *,
    prompts_file: str | None,
    out: str,
    candidates: int,
    scorer: str,
    spectrogram: bool,
    settings: Mapping[str, Any],
    model: Mapping[str, Any],
) -> int:
    """`settings`: of generation.generator.Settings; `model`: what open_generator takes."""
    from generation.batch import Job, make_sounds
    from generation.generator import Settings
    from pipeline.stopping import Stopped, stoppable

    asked = _asked(prompts, prompts_file)
    generator = open_generator(**model)
    judge = _judge(scorer, str(model["device"]))
    job = Job(asked, Path(out), Settings(**settings), candidates, spectrogram)
    began_s, made, there = perf_counter(), 0, 0

    def on_made(one: Made) -> None:
        nonlocal made, there
        made, there = made + (not one.was_there), there + one.was_there
        if not one.was_there:
            told = f"{one.scores[one.chosen]:.3f}  " if one.scores else ""
            say(f"{job.out / one.name}.wav  {told}{one_line(one.asked.text, 80)}")

    try:
        with stoppable(), _progress(len(asked)) as on_progress:
            make_sounds(generator, judge, job, on_made, on_progress)
    except Stopped as stopped:
        sys.stderr.write(f"stopped: {made} made, {len(asked) - made - there} left; the same command goes on\n")
        return stopped.exit_code
    took_s = perf_counter() - began_s
    known = f", {there} were there" if there else ""
    pace = f", {took_s / (made * candidates):.2f} s a clip" if made else ""
    sys.stderr.write(f"{made} made{known} in {took_s:.1f} s{pace} ({generator.model_id}, {generator.device})\n")
    return 0


def demo_verb(
    host: str, port: int, *, candidates: int, scorer: str, settings: Mapping[str, Any], model: Mapping[str, Any]
) -> int:
    """Serves the page until it is stopped."""
    from generation.generator import Settings
    from generation.page import Studio, make_page
    from pipeline.page_server import listen, require_gradio, serve_until_stopped

    require_gradio()
    listening = listen(host, port)
    generator = open_generator(**model)
    studio = Studio(generator, _judge(scorer, str(model["device"])), Settings(**settings), candidates)
    return serve_until_stopped(lambda: make_page(studio), host, listening)


def open_generator(
    model: str,
    *,
    device: str,
    threads: int,
    conditioners: Sequence[str],
    sizes: Mapping[str, int],
    **options: Any,
) -> GenauGenerator:
    """See genau.load.load_generator. GenerationError where a device is not there."""
    import torch

    from generation.errors import GenerationError

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise GenerationError(f"{device}: PyTorch sees no GPU here; leave --device away for the CPU")
    torch.set_num_threads(threads)
    from genau.load import load_generator

    return load_generator(model, device=device, conditioners=list(conditioners) or None, sizes=sizes, **options)


def _asked(prompts: Sequence[str], prompts_file: str | None) -> list[Asked]:
    from generation.errors import GenerationError
    from generation.prompts import Asked, cleaned, read_prompts

    given = [Asked("", cleaned(text)) for text in prompts if cleaned(text)]
    found = given + (read_prompts(Path(prompts_file)) if prompts_file else [])
    if not found:
        raise GenerationError("say what shall be heard: --prompt TEXT, or --prompts FILE")
    return found


def _judge(scorer: str, device: str) -> Scorer | None:
    """The CLAP that scores, or None for `none`."""
    from pipeline.scorers import open_scorer

    if scorer == "none":
        return None
    return open_scorer(scorer, device)


@contextmanager
def _progress(prompts: int) -> Iterator[Callable[[float], None]]:
    """On a terminal a bar with what is left; yields what is called with how many prompts are done."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("generate"), BarColumn(), TextColumn("{task.completed:.1f}/{task.total:.0f} prompts"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    # Rich takes stdout over for the bar's sake: only where it is the terminal, never a file or a pipe.
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task("", total=prompts)
        yield lambda done: bar.update(task, completed=done)
