"""A user's own stages on a cluster: which folders and files their workers must be sent.

A recipe says `use: my_module:MyStage`; the driver imports it from where the command was started. A worker on another
machine has neither that folder nor that path: the module's top-level package (or its single file) travels as one of
Ray's `py_modules`. Installed packages do not: every node has its own. What a stage imports besides is named in
`execution.py_modules`.
"""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path

from pipeline.config import Recipe, RecipeError
from pipeline.engine import PACKAGES


def user_modules(recipe: Recipe) -> list[Path]:
    """Folders and .py files to send, absolute, each once. RecipeError for a named one that is not there."""
    named = [Path(path).absolute() for path in recipe.execution.py_modules]
    missing = [path for path in named if not (path.is_dir() or (path.suffix in {".py", ".whl"} and path.is_file()))]
    if missing:
        raise RecipeError(
            "execution.py_modules", [f"{path} is neither a folder nor a .py or .whl file" for path in missing]
        )
    uses = [spec.use for leg in recipe.legs.values() for spec in leg.stages if ":" in spec.use]
    packages = dict.fromkeys(use.partition(":")[0].partition(".")[0] for use in uses)
    found = [path for package in packages if package not in PACKAGES for path in _where(package)]
    return list(dict.fromkeys([*found, *named]))


def _where(package: str) -> list[Path]:
    """The package's folder or file; none for what is installed."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return []  # `load_recipe` has said so
    places = list(spec.submodule_search_locations or [])[:1] or [spec.origin or ""]
    return [path for path in (Path(place).absolute() for place in places) if path.exists() and not _installed(path)]


def _installed(path: Path) -> bool:
    return any(path.is_relative_to(place) for name, place in sysconfig.get_paths().items() if name != "data")
