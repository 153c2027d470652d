"""The verbs of `autorecap genau`: what is done with the text-to-audio model. A function adds each to the group."""

from __future__ import annotations

import click


def add_genau(main: click.Group) -> None:
    """The group and all of its verbs."""

    @main.group()
    def genau() -> None:
        """GenAU, text to audio: train it on exported shards, generate with it, evaluate it."""
