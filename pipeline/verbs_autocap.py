"""The verbs of `autorecap autocap`: what is done with the captioner itself. A function adds each to the group."""

from __future__ import annotations

import sys
from typing import Any

import click

from pipeline.cli_caption import captioner_options
from pipeline.cli_parts import recipe_options, speak_plainly


def add_autocap(main: click.Group) -> None:
    """The group and all of its verbs."""

    @main.group()
    def autocap() -> None:
        """AutoCap, the captioner: train it, evaluate it, try it on a page."""

    add_train(autocap)
    add_evaluate(autocap)
    add_demo(autocap)


def add_train(group: click.Group) -> None:
    @group.command()
    @recipe_options
    @click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder of checkpoints, logs, model.")
    @click.option("--resume", is_flag=True, help="Go on with the training that is in the folder.")
    @speak_plainly
    def train(config: str, overrides: tuple[str, ...], out: str, resume: bool) -> None:
        """Train AutoCap by a recipe (configs/autocap_stage1.yaml, …_stage2, …_tiny) on shards of `export`.

        Stop it as you like; --resume goes on from the last checkpoint, to the same curve of losses.
        """
        from pipeline.autocap_train import autocap_train_verb

        sys.exit(autocap_train_verb(config, overrides, out, resume=resume))


def add_evaluate(group: click.Group) -> None:
    @group.command()
    @click.argument("data", nargs=-1, required=True)
    @click.option("--model", default="embedded", show_default=True, help="Or an AutoCap's file, folder, name.")
    @click.option("--beams", default="1,2,3", show_default=True, help="Numbers of beams; a clip is heard once for all.")
    @click.option("--scorer", help="CLAP of the mean CLAP score, or none. Default: embedded; an AutoCap's own.")
    @click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
    @click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="On a CPU.")
    @click.option("--autocap", multiple=True, metavar="KEY=VALUE", help="An AutoCap's option, e.g. clap=laion.pt.")
    @click.option("--audio", type=click.Path(file_okay=False), help="Folder of a table's sounds.")
    @click.option("--split", default="test", show_default=True, help="Split of an export.")
    @click.option("--metadata", default="title,video_caption", show_default=True, help="What it may read, or none.")
    @click.option("--csv", "csv_path", type=click.Path(dir_okay=False), metavar="FILE", help="Write the captions.")
    @click.option("--json", "json_path", type=click.Path(dir_okay=False), metavar="FILE", help="Write the results.")
    @click.option("--java/--no-java", default=None, help="Tokenizer, METEOR, SPICE. Default: where Java is found.")
    @click.option("--resamples", type=click.IntRange(min=0), default=1000, show_default=True, help="Of the bootstrap.")
    @click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
    @speak_plainly
    def evaluate(data: tuple[str, ...], **options: Any) -> None:
        """BLEU, ROUGE-L, METEOR, CIDEr-D, SPICE, SPIDEr of the captions of DATA, beside what people say of it.

        DATA: a CSV or JSON lines with `file` and `caption` (several rows, or caption_1 to caption_9, for several
        references; Clotho's and AudioCaps' tables are such), or shards of `export`. Exit code 1 when a clip could
        not be heard.
        """
        from pipeline.caption_eval import evaluate_verb

        sys.exit(evaluate_verb(data, **options))


def add_demo(group: click.Group) -> None:
    @group.command()
    @click.option("--port", type=click.IntRange(0, 65535), default=7861, show_default=True, help="0: any that is free.")
    @click.option("--host", default="127.0.0.1", show_default=True, help="Another lets others in: there is no login.")
    @click.option("--beam", type=click.IntRange(1, 8), default=2, show_default=True, help="Where the slider stands.")
    @captioner_options
    @speak_plainly
    def demo(port: int, host: str, **options: Any) -> None:
        """A page for the browser: a sound, its title and what is seen in; its caption and CLAP score out.

        Needs Gradio: pip install "autorecap[demo]". It asks nobody else for anything. Stop it with Ctrl-C.
        """
        from pipeline.verbs_caption import demo_verb

        sys.exit(demo_verb(host, port, **options))
