"""The verbs of `autorecap autocap`: what is done with the captioner itself. A function adds each to the group."""

from __future__ import annotations

import sys

import click

from pipeline.cli_parts import recipe_options, speak_plainly


def add_autocap(main: click.Group) -> None:
    """The group and all of its verbs."""

    @main.group()
    def autocap() -> None:
        """AutoCap, the captioner: train it."""

    add_train(autocap)


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
