"""Do the views of a run refer to compacted files that are there?"""

from __future__ import annotations

from corpus.compacted import files_of_view, view_summaries
from corpus.report import Check
from corpus.store import Store
from corpus.view_query import ViewError
from corpus.views import open_view


def look_at_views(store: Store) -> Check:
    """Of the views that this version reads. What the files themselves hold is another check's."""
    summaries = view_summaries(store)
    faults = []
    for name, summary in summaries.items():
        try:
            open_view(store, name)
        except ViewError as error:
            faults.append(str(error))
        gone = [path for path in files_of_view(summary) if not store.exists(path)]
        if gone:
            faults.append(f"view {name} refers to {gone[0]}, which is gone; run autorecap select again")
    return Check("views: what they refer to is there", not faults, "; ".join(faults) or f"{len(summaries)} views")
