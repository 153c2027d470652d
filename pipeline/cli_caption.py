"""The verb `caption` on the command line, and the options by which a captioner is named and run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli_parts import speak_plainly

if TYPE_CHECKING:
    from pipeline.caption_files import Windows

#: CaptionerOptions (captioner/load.py) by their names; `clap_tokenizer` is of ClapOptions.
_AUTOCAP = (
    click.option("--clap", help="AutoCap: the CLAP it listens with, one of LAION's .pt files. It scores, too."),
    click.option("--clap-tokenizer", help="AutoCap: that CLAP's tokenizer, folder or Hub name."),
    click.option("--bart", help="AutoCap: BART's tokenizer and configuration, folder or Hub name."),
    click.option("--tag-spacing", type=click.Choice(["stripped", "kept"]), help="AutoCap: blanks around tags."),
    click.option("--clap-token", type=click.Choice(["shared", "reference"]), help="AutoCap: one embedding, or two."),
    click.option("--audio-tokens", type=click.Choice(["1024", "32"]), help="AutoCap: 32 for weights trained so."),
    click.option("--precision", type=click.Choice(["float32", "bfloat16"]), help="AutoCap: bfloat16 on a GPU."),
    click.option("--compile", is_flag=True, default=None, help="AutoCap: torch.compile, CUDA graphs, on a GPU."),
    click.option("--batch", type=click.IntRange(min=1), help="AutoCap: clips of one pass."),
)
_MODEL = (
    click.option("--model", default="embedded", show_default=True, help="embedded, a folder, an AutoCap checkpoint."),
    click.option("--score/--no-score", default=None, help="CLAP scores. Default: those of the embedded captioner."),
    click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ..."),
    click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Of the CPU."),
)


def captioner_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """The model's options; those of an AutoCap arrive as one mapping, `autocap`, None where not given."""
    names = ("clap", "clap_tokenizer", "bart", "tag_spacing", "clap_token", "audio_tokens", "precision", "compile")

    @wraps(verb)
    def wrapped(*args: Any, **options: Any) -> Any:
        autocap = {name: options.pop(name) for name in (*names, "batch")}
        return verb(*args, autocap=autocap, **options)

    for option in reversed((*_MODEL, *_AUTOCAP)):
        wrapped = option(wrapped)
    return wrapped


def add_caption(main: click.Group) -> None:
    @main.command()
    @click.argument("files", nargs=-1)
    @click.option("--title", help="What the source calls it; of every file.")
    @click.option(
        "--description",
        help="What the source says of it. An AutoCap reads it as <DESC>, which the published one never saw; the "
        "embedded captioner does not read it.",
    )
    @click.option("--video-caption", help="What is seen in it.")
    @click.option(
        "--metadata",
        type=click.Path(dir_okay=False),
        metavar="YAML",
        help="File name -> title, description, video_caption; before those given for all.",
    )
    @click.option("--beam", type=click.IntRange(1, 8), default=2, show_default=True, help="Sentences searched at once.")
    @click.option(
        "--windows",
        type=click.Choice(["first", "join", "likeliest"]),
        default="first",
        help="Of a file over 10 s: its first window, all captions joined, or the likeliest. Default: first.",
    )
    @click.option("--every-window", is_flag=True, help="A line for each 10 s of a file.")
    @click.option("--format", "format_name", type=click.Choice(["table", "jsonl", "csv"]), default="table")
    @captioner_options
    @speak_plainly
    def caption(files: tuple[str, ...], windows: Windows, every_window: bool, **options: Any) -> None:
        """Say in a sentence what is heard in each of FILES (files, folders, patterns), and how well it fits.

        Any length, rate and number of channels. Exit code 1 when a file could not be heard.
        """
        from pipeline.verbs_caption import caption_verb

        if every_window and windows != "first":
            raise click.UsageError("--every-window has a line for each window: --windows makes one of them")
        sys.exit(caption_verb(files, windows="every" if every_window else windows, **options))
