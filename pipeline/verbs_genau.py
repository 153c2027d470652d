"""The verbs of `autorecap genau`: what is done with the text-to-audio model. A function adds each to the group."""

from __future__ import annotations

import sys
from typing import Any

import click

from pipeline.cli_genau import add_demo, add_generate
from pipeline.cli_parts import recipe_options, speak_plainly


def add_genau(main: click.Group) -> None:
    """The group and all of its verbs."""

    @main.group()
    def genau() -> None:
        """GenAU, text to audio: train it on exported shards, generate with it, evaluate it."""

    add_train(genau)
    add_encode(genau)
    add_generate(genau)
    add_evaluate(genau)
    add_demo(genau)


def add_train(group: click.Group) -> None:
    @group.command()
    @recipe_options
    @click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder of checkpoints, logs, model.")
    @click.option("--resume", is_flag=True, help="Go on with the training that is in the folder.")
    @speak_plainly
    def train(config: str, overrides: tuple[str, ...], out: str, resume: bool) -> None:
        """Train the denoiser or, with a recipe such as configs/vae.yaml, the VAE, from exported shards or latents.

        The model lies in OUT/model at the end, and in each checkpoint. Ctrl-C leaves a checkpoint; --resume goes on
        to the same weights as an unbroken training. Several workers: execution.workers (Ray Train), or torchrun.
        """
        from pipeline.genau_train import genau_train_verb

        sys.exit(genau_train_verb(config, overrides, out, resume=resume))


def add_encode(group: click.Group) -> None:
    @group.command()
    @click.argument("shards", nargs=-1, required=True)
    @click.option("--out", required=True, metavar="DIR", help="Folder or URL of the latents' shards.")
    @click.option("--vae", default="embedded", show_default=True, help="Or a VAE's folder, or a published file.")
    @click.option(
        "--text",
        multiple=True,
        default=("embedded",),
        show_default=True,
        metavar="NAME",
        help="Text encoders, side by side: embedded, clap:NAME, t5:NAME (may be given many times).",
    )
    @click.option("--clap-tokenizer", metavar="NAME", help="Tokenizer of LAION's .pt files. Default: roberta-base.")
    @click.option("--dataset", metavar="NAME", help="Whose the clips are. Default: what their records say.")
    @click.option("--clap-min", type=click.FloatRange(-1, 1), help="Leave out clips below this CLAP score.")
    @click.option("--min-s", type=click.FloatRange(min=0), default=0.0, show_default=True, help="And shorter ones.")
    @click.option("--max-s", type=click.FloatRange(min=0.01), help="And longer ones.")
    @click.option("--keep-silence", is_flag=True, help="Keep clips in which nothing is heard.")
    @click.option(
        "--numbers",
        type=click.Choice(["bytes", "float16"]),
        default="bytes",
        show_default=True,
        help="Of a latent: bytes between each channel's least and most, or exact at twice the size.",
    )
    @click.option("--audio-vectors", is_flag=True, help="Of the sounds too, by CLAP: for text.audio_share of a recipe.")
    @click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda.")
    @click.option("--batch", type=click.IntRange(min=1), help="Clips of one pass. Default: 4 on a CPU, 64 on a GPU.")
    @click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="CPUs of a worker.")
    @click.option("--workers", type=click.IntRange(min=0), help="Default: one a GPU, or all CPUs. 0: without Ray.")
    @click.option("--cache", type=click.Path(file_okay=False), metavar="DIR", help="Keep captions' vectors there.")
    @click.option("--ray-address", metavar="ADDRESS", help="Join this cluster: auto or ray://...")
    @speak_plainly
    def encode(shards: tuple[str, ...], **options: Any) -> None:
        """Shards of `export` to shards of latents and captions' vectors, so that training decodes and embeds nothing.

        Each clip is heard in windows of 10.24 s. Run it again after a kill and it goes on; shards in place stay.
        """
        from pipeline.genau_encode import genau_encode_verb

        sys.exit(genau_encode_verb(shards, **options))


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
