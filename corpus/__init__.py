"""Ground floor: what a clip is on disk. The Arrow schema of a row, the unit store, views, shards.

Nothing here knows a model or Ray. Read `schema.py` first, then `store.py` and `units.py`.
"""
