"""`genau generate` and `genau demo` on the command line, and the options by which a generator is named and run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from pipeline.cli_parts import speak_plainly

_MODEL = (
    click.option("--model", required=True, metavar="PATH", help="A folder of `genau train`, or a published file."),
    click.option("--vae", metavar="NAME", help="embedded, a folder, a file. Default: the one it was trained with."),
    click.option("--vocoder", metavar="NAME", help="griffin-lim, or a HiFi-GAN's file. Default: the VAE's own."),
    click.option(
        "--conditioner", "conditioners", multiple=True, metavar="NAME",
        help="Text encoders in their order: embedded, clap:NAME, t5:NAME. Default: those it was trained with.",
    ),
    click.option(
        "--clap-tokenizer", metavar="NAME",
        help="Tokenizer of LAION's .pt files. Default: the one it was trained with, or roberta-base.",
    ),
    click.option(
        "--pooling", type=click.Choice(["tokens", "padded"]),
        help="T5: mean over the words, or over padding too, as the reference has it. Default: as it was trained.",
    ),
    click.option("--dataset", metavar="NAME", help="In a corpus' manner; none: in nobody's. Default: the model's."),
    click.option(
        "--weights", "averaged", type=click.Choice(["auto", "ema", "raw"]), default="auto", show_default=True,
        help="Of a published file: averaged, of the last step, or averaged where it has them.",
    ),
    click.option("--config", type=click.Path(dir_okay=False), metavar="YAML", help="Of a published file."),
    click.option("--patch", type=click.IntRange(min=1), help="Of a published file without its YAML."),
    click.option("--group", type=click.IntRange(min=1), help="Likewise: patches of a group."),
    click.option("--head-width", type=click.IntRange(min=1), help="Likewise: of an attention head."),
    click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ..."),
    click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Of the CPU."),
    click.option(
        "--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True,
        help="auto: bfloat16 on a GPU.",
    ),
    click.option("--batch", "clips_at_once", type=click.IntRange(min=1), help="Clips at once. Default: 4; GPU: 32."),
)  # fmt: skip
_SETTINGS = (
    click.option("--steps", type=click.IntRange(1, 1000), help="Default: 100 with ddim, 25 with dpm."),
    click.option("--guidance", type=float, default=4.0, show_default=True, help="1: the prompt alone."),
    click.option("--candidates", type=click.IntRange(1, 64), default=1, show_default=True, help="CLAP keeps the best."),
    click.option("--seed", type=int, default=0, show_default=True),
    click.option("--duration", "duration_s", type=float, metavar="SECONDS", help="Up to the model's own length."),
    click.option("--solver", type=click.Choice(["ddim", "dpm"]), default="ddim", show_default=True),
    click.option("--eta", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="DDIM's fresh noise."),
    click.option(
        "--seeds", type=click.Choice(["prompt", "name"]), default="prompt", show_default=True,
        help="Noise follows from seed and prompt, or from the file's name, as the reference has it.",
    ),
    click.option("--reference-steps", is_flag=True, help="Count DDIM's steps as the reference does, crashes and all."),
    click.option(
        "--self-conditioning/--no-self-conditioning", default=None,
        help="Hand latent tokens from step to step. Default: where the weights were trained so.",
    ),
    click.option("--scorer", default="embedded", show_default=True, help="CLAP of the scores, or none."),
)  # fmt: skip

_SETTING_NAMES = (
    "steps", "guidance", "seed", "duration_s", "solver", "eta", "seeds", "reference_steps", "self_conditioning",
)  # fmt: skip
_MODEL_NAMES = (
    "model", "vae", "vocoder", "conditioners", "clap_tokenizer", "pooling", "dataset", "averaged", "config", "device",
    "threads", "precision", "clips_at_once",
)  # fmt: skip
_SIZES = ("patch", "group", "head_width")
STEPS = {"ddim": 100, "dpm": 25}


def generator_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Those of the model arrive as one mapping, `model`, those of the sounds as `settings`."""

    @wraps(verb)
    def wrapped(*args: Any, **options: Any) -> Any:
        settings = {name: options.pop(name) for name in _SETTING_NAMES}
        settings["steps"] = settings["steps"] or STEPS[settings["solver"]]
        sizes = {name: size for name in _SIZES if (size := options.pop(name)) is not None}
        model = {name: options.pop(name) for name in _MODEL_NAMES} | {"sizes": sizes}
        return verb(*args, settings=settings, model=model, **options)

    for option in reversed((*_MODEL, *_SETTINGS)):
        wrapped = option(wrapped)
    return wrapped


def add_generate(group: click.Group) -> None:
    @group.command()
    @click.option("--prompt", "prompts", multiple=True, metavar="TEXT", help="What shall be heard (any number).")
    @click.option(
        "--prompts", "prompts_file", type=click.Path(dir_okay=False), metavar="FILE",
        help="txt (a line each, or id|prompt), csv, tsv, jsonl (prompt, caption or text; id if there is one).",
    )  # fmt: skip
    @click.option("--out", required=True, type=click.Path(file_okay=False), metavar="DIR", help="Folder of the sounds.")
    @click.option("--spectrogram", is_flag=True, help="A PNG beside each sound.")
    @generator_options
    @speak_plainly
    def generate(prompts: tuple[str, ...], **options: Any) -> None:
        """Sounds for prompts: NAME.wav and NAME.json with everything it was made of.

        \b
        autorecap genau generate --model models/rain --prompt "rain on a roof" --out sounds
        autorecap genau generate --model models/rain --prompts test.csv --candidates 3 --solver dpm --out sounds

        Stop it as you like: the same command goes on, and makes nothing twice.
        """
        from pipeline.genau_generate import generate_verb

        sys.exit(generate_verb(prompts, **options))


def add_demo(group: click.Group) -> None:
    @group.command()
    @click.option("--port", type=click.IntRange(0, 65535), default=7862, show_default=True, help="0: any that is free.")
    @click.option("--host", default="127.0.0.1", show_default=True, help="Another lets others in: there is no login.")
    @generator_options
    @speak_plainly
    def demo(port: int, host: str, **options: Any) -> None:
        """A page for the browser: words in; a sound, its spectrogram and CLAP scores out.

        Needs Gradio: pip install "autorecap[demo]". It asks nobody else for anything. Stop it with Ctrl-C.
        """
        from pipeline.genau_generate import demo_verb

        sys.exit(demo_verb(host, port, **options))
