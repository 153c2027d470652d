"""Which code made a figure: the package's version and, in a checkout, the commit."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]


def code_version() -> str:
    """`0.1.0`, or `0.1.0+1c850e6` in a checkout, with `.changed` behind it where files differ from the commit."""
    try:
        version = metadata.version("autorecap")
    except metadata.PackageNotFoundError:  # run from its sources without being installed
        version = "0"
    if not (HOME / ".git").exists():
        return version
    words = ["git", "-C", str(HOME), "describe", "--always", "--exclude=*", "--dirty=.changed"]
    try:
        said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # no git, or a checkout that another user owns
        return version
    return f"{version}+{said}"
