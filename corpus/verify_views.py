"""Do the views of a run refer to compacted files that are there, and whole?"""

from __future__ import annotations

import json
from contextlib import suppress

from corpus.compacted import FORMAT_VERSION, CompactionError, as_compacted, compacted_files, files_of_view, is_sound
from corpus.report import Check
from corpus.store import Store
from corpus.view_query import ViewError
from corpus.views import open_view, summary_path, view_names


def look_at_views(store: Store) -> Check:
    """Of the views that this version reads. Files that are a leg's present ones are another check's."""
    names = view_names(store)
    sound: set[str] = set()
    faults = []
    for name in names:
        # One that is made anew just now looks damaged for a moment.
        if _faults_of(store, name, sound) and (again := _faults_of(store, name, sound)):
            faults += again
    return Check("views: what they refer to is there", not faults, "; ".join(faults) or f"{len(names)} views")


def _faults_of(store: Store, name: str, sound: set[str]) -> list[str]:
    """`sound`: files that were found to be so; what is found is added."""
    try:
        summary = json.loads(store.read(summary_path(name)))
    except FileNotFoundError:
        return []
    except ValueError as error:
        return [f"view {name!r} cannot be read: {error}; run autorecap select again"]
    if not isinstance(summary, dict) or summary.get("format_version") != FORMAT_VERSION:
        return []
    try:
        open_view(store, name)
    except ViewError as error:
        return [str(error)]
    for path in sorted(set(files_of_view(summary)) - sound):
        if fault := _fault_of(store, path):
            return [f"view {name} refers to {path}, which {fault}; run autorecap select again"]
        sound.add(path)
    return []


def _fault_of(store: Store, path: str) -> str | None:
    file = as_compacted(path)
    try:
        with store.open(path) as opened:
            if file is None or (not _is_present(store, path) and not is_sound(file, opened)):
                return "is damaged"
    except FileNotFoundError:
        return "is gone"
    return None


def _is_present(store: Store, path: str) -> bool:
    """Whether readers of its leg take the file, so that it was looked at with the leg."""
    with suppress(CompactionError):
        return any(file.path == path for file in compacted_files(store, path.split("/")[2]))
    return False
