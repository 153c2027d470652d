"""The verbs of `autorecap genau`: what is done with the text-to-audio model. A function adds each to the group."""

from __future__ import annotations

import sys
from typing import Any

import click

from pipeline.cli_parts import speak_plainly


def add_genau(main: click.Group) -> None:
    """The group and all of its verbs."""

    @main.group()
    def genau() -> None:
        """GenAU, text to audio: train it on exported shards, generate with it, evaluate it."""

    add_evaluate(genau)


def add_evaluate(group: click.Group) -> None:
    @group.command()
    @click.argument("generated")
    @click.option("--reference", required=True, help="Folder of sounds, export, tars: what GENERATED is compared with.")
    @click.option("--metrics", metavar="NAMES", help="Of fd,fd-inf,kad,is,kl,clap. Default: fd,is,kl,clap.")
    @click.option(
        "--extractor",
        "extractors",
        multiple=True,
        default=("embedded",),
        show_default=True,
        metavar="NAME[=WEIGHTS]",
        help="vggish=, panns=, panns-32k=, passt=, clap=FILE, or my_module:MyExtractor (may be given many times).",
    )
    @click.option("--captions", type=click.Path(dir_okay=False), metavar="FILE", help="Table of file,caption.")
    @click.option("--split", default="test", show_default=True, help="Split of an export.")
    @click.option(
        "--clip-s", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Hear only so much of each sound."
    )
    @click.option("--all", "everything", is_flag=True, help="All of both; default: as many of one as of the other.")
    @click.option("--seed", type=int, default=0, show_default=True, help="Of the sample and the bootstrap.")
    @click.option("--resamples", type=click.IntRange(min=0), default=1000, show_default=True, help="Of the bootstrap.")
    @click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")
    @click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="On a CPU.")
    @click.option("--json", "json_path", type=click.Path(dir_okay=False), metavar="FILE", help="Write the results.")
    @speak_plainly
    def evaluate(generated: str, **options: Any) -> None:
        """FAD, FD, IS, KL, CLAP score and KAD of GENERATED, a folder of sounds or shards of `export`.

        Sounds of one name are pairs. Captions come from --captions, or lie beside the sounds: NAME.json as `generate`
        writes it, a shard's record. Exit code 1 when a sound could not be heard.
        """
        from pipeline.genau_evaluate import genau_evaluate_verb

        sys.exit(genau_evaluate_verb(generated, **options))
