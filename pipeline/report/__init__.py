"""Pages for eyes and ears: `report` of a run, hits of `search`; each is one HTML file that asks nobody for anything."""
