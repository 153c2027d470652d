"""Fill the templates that lie beside this file. Every value is escaped; only our own plots are marked as safe."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any


@cache
def _templates() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: Any) -> bytes:
    """`template` (a file's name) as the bytes of a page."""
    # Lone surrogates cannot be written as UTF-8; a stranger's text may hold them.
    return str(_templates().get_template(template).render(**values)).encode("utf-8", "replace")
