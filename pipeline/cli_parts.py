"""What the verbs of several files share: how faults are told, and the options of recipes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click


def speak_plainly(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Known faults and what the system refuses become one clear message and exit code 2; a bug keeps its traceback."""

    @wraps(verb)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from pipeline.errors import known_errors

        try:
            return verb(*args, **kwargs)
        except known_errors() as error:
            # What a Ray task raised comes as two classes in one, whose text is a traceback; `cause` is what it raised.
            click.echo(f"autorecap: {getattr(error, 'cause', error)}", err=True)
            sys.exit(2)
        except OSError as error:
            if error.errno is None:  # said by some library in its own words: where from is worth knowing
                raise
            click.echo(f"autorecap: {_refusal(error)}", err=True)
            sys.exit(2)

    return wrapped


def _refusal(error: OSError) -> str:
    """What the operating system has refused, as a sentence."""
    from corpus.storage_faults import storage_fault

    if fault := storage_fault(error, str(error.filename or "a disk of this machine")):
        return str(fault)
    name = f": {error.filename}" if error.filename else ""
    return f"the system says: {error.strerror}{name}"


def recipe_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """CONFIG and --set, which every verb that reads a recipe takes."""
    verb = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a key of the recipe, e.g. --set plan.unit_clips=64. May be given many times.",
    )(verb)
    return click.argument("config", type=click.Path(dir_okay=False))(verb)
