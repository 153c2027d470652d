"""A small real corpus for tests, committed and compacted as a run would do it (fixture `small_corpus`)."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

SCORER = "laion/clap-htsat-fused@0123456789ab"
CAPTIONS = ("rain falls on leaves", "a dog barks twice", "wind over <b>grass</b> ✓", "water; drop table clips")


class SmallCorpus:
    """What to make. Clip i of a source spans i * clip_ms to (i + 1) * clip_ms: neighbours abut."""

    def __init__(
        self,
        *,
        sources: int = 6,
        clips: int = 6,  # a source
        clip_ms: int = 500,
        sample_rate_hz: int = 48_000,
        unit_sources: int = 2,
        models: bool = True,  # False: only the root leg has run
        joined: bool = True,  # clips 1 to 3 of source 1 are one
        titles: str = 'A "title"\n</script> ../../etc/passwd {n}',
        urls: str = "https://example.org/watch?v={n}",
        captions: tuple[str, ...] = CAPTIONS,
        scorers: tuple[str, ...] = (SCORER,),  # source n has been scored by the n-th, over and over
        embedding: Callable[[int, int], np.ndarray] | None = None,  # of clip i of source n, for all that is captioned
    ) -> None:
        self.sources, self.clips, self.clip_ms = sources, clips, clip_ms
        self.sample_rate_hz, self.unit_sources = sample_rate_hz, unit_sources
        self.models, self.joined, self.titles = models, joined, titles
        self.urls, self.captions = urls, captions
        self.scorers, self.scorer, self.embedding = scorers, scorers[0], embedding
        self.waves: dict[str, np.ndarray] = {}  # clip_id -> int16 samples, as made

    def make(self, root: Path) -> Any:
        """Plan, commit and compact it below `root`; returns the Store."""
        from corpus import compact, plan_store
        from corpus.schema import SOURCES
        from corpus.store import Store

        store = Store(str(root))
        store.put_if_absent("run.json", json.dumps({"format_version": 1, "name": "small", "plan": {}}).encode())
        store.put_if_absent("corpus/legs/fetch.json", json.dumps({"after": None, "stages": []}).encode())
        plan = self._plan()
        sources = pa.Table.from_pylist(
            [
                {
                    "source_key": f"key{n}",
                    "source_id": self.source_id(n),
                    "clips": self.clips,
                    "outcome": "planned",
                    "attempt": 0,
                }
                for n in range(self.sources)
            ],
            schema=SOURCES,
        )
        plan_store.write_inputs(store, "00000", pa.table({"source_key": [f"key{n}" for n in range(self.sources)]}))
        plan_store.write_part(store, "00000", plan, sources)
        for unit_id in plan_store.unit_ids(store, "00000"):
            self._commit(store, unit_id)
        compact.compact(store, "fetch", root=True)
        if self.models:
            store.put_if_absent("corpus/legs/models.json", json.dumps({"after": "fetch", "stages": []}).encode())
            compact.compact(store, "models", root=False)
        return store

    def source_id(self, n: int) -> str:
        return f"src-{n:03d}_AbC"

    def clip_id(self, n: int, i: int) -> str:
        return f"{self.source_id(n)}_{i * self.clip_ms}_{(i + 1) * self.clip_ms}"

    def score(self, n: int, i: int) -> float:
        return round(((n * 7 + i * 3) % 10) / 10, 1)

    def caption(self, n: int, i: int) -> str:
        return self.captions[(n + i) % len(self.captions)]

    def _plan(self) -> pa.Table:
        from corpus.schema import PLAN

        rows = []
        for n in range(self.sources):
            for i in range(self.clips):
                unit = n // self.unit_sources
                rows.append(
                    {
                        "clip_id": self.clip_id(n, i),
                        "source_id": self.source_id(n),
                        "source_key": f"key{n}",
                        "unit_id": f"00000-{unit:05d}",
                        "row": (n % self.unit_sources) * self.clips + i,
                        "start_ms": i * self.clip_ms,
                        "end_ms": (i + 1) * self.clip_ms,
                        "url": self.urls.replace("{n}", str(n)),
                        "title": self.titles.replace("{n}", str(n)),
                        "license": "CC0" if n % 2 else None,
                        "source_units": 1,
                    }
                )
        return pa.Table.from_pylist(rows, schema=PLAN)

    def _commit(self, store: Any, unit_id: str) -> None:
        from corpus import plan_store, units
        from corpus.schema import AUDIO, CAPTION, OUTCOME, fields

        plan_sha256 = plan_store.part_sha256(store, "00000")
        meta = units.UnitMeta("fetch", "recipe", plan_sha256)
        models_meta = units.UnitMeta("models", "recipe", plan_sha256)
        planned = plan_store.read_unit(store, unit_id)
        rows = planned
        entries = planned.to_pylist()
        made = [self._fetched(entry) for entry in entries]
        for typed in [*OUTCOME, *AUDIO, pa.field("audio", pa.large_binary())]:
            rows = rows.append_column(typed, pa.array([one.get(typed.name) for one in made], typed.type))
        units.commit_root(store, planned, rows, meta)
        if not self.models:
            return
        root = units.read_root_unit(store, unit_id)
        scored = [self._scored(entry) for entry in root.to_pylist()]
        kept = ["clap_audio_embedding"] if self.embedding else []
        adds = pa.schema([*CAPTION, *fields("clap_score", "clap_model", *kept)])
        rows = root
        for typed in [*OUTCOME, *adds]:
            values = pa.array([one.get(typed.name) for one in scored], typed.type)
            at = rows.schema.get_field_index(typed.name)
            rows = rows.set_column(at, typed, values) if at >= 0 else rows.append_column(typed, values)
        units.commit_columns(store, "models", root, rows, adds, models_meta)

    def _fetched(self, entry: dict[str, Any]) -> dict[str, Any]:
        """What the root leg adds: tones with noise, a failed clip in each source, a short last one in source 0."""
        import hashlib

        import soundfile

        n, i = self._where(entry)
        if i == self.clips - 1 and n % 3 == 2:
            return {"outcome": "failed", "reason": "undecodable", "stage": "cut", "attempt": 0}
        count = self.sample_rate_hz * self.clip_ms // 1000
        if i == self.clips - 1 and n == 0:
            count = count * 3 // 5
        noise = np.random.Generator(np.random.PCG64(n * 1000 + i)).integers(-900, 900, count)
        tone = 8000 * np.sin(np.arange(count) * (0.02 + 0.01 * i))
        wave = (tone + noise).astype(np.int16)
        self.waves[entry["clip_id"]] = wave
        file = io.BytesIO()
        soundfile.write(file, wave, self.sample_rate_hz, format="FLAC", subtype="PCM_16")
        return {
            "attempt": 0,
            "audio": file.getvalue(),
            "codec": "flac",
            "sample_rate_hz": self.sample_rate_hz,
            "num_samples": count,
            "sha256": hashlib.sha256(file.getvalue()).hexdigest(),
            "speech_ratio": i / 10,
            "bandwidth_hz": 8000 - 1000 * i,
            "mono_fold_db": None if n % 2 else -6.0 * i,
        }

    def _scored(self, entry: dict[str, Any]) -> dict[str, Any]:
        n, i = self._where(entry)
        outcome = {name: entry[name] for name in ("outcome", "reason", "detail", "stage", "attempt")}
        if entry["outcome"] != "ok":
            return outcome
        added = {
            **outcome,
            "caption": self.caption(n, i),
            "caption_model": "small-captioner@cafe",
            "clap_score": self.score(n, i),
            "clap_model": self.scorers[n % len(self.scorers)],
            "clap_audio_embedding": self.embedding(n, i) if self.embedding else None,
            "music_word": "guitar" if i == 0 else None,
        }
        if self.joined and n == 1 and i in (1, 2, 3):
            added["caption"] = "one long rain"
            added["clap_score"] = 0.9
            if i == 1:
                return {**added, "joined_end_ms": 4 * self.clip_ms}
            return {**added, "outcome": "merged", "reason": "joined", "merged_into": self.clip_id(1, 1)}
        if i == 4:
            return {**added, "outcome": "filtered", "reason": "speech_word", "stage": "keywords"}
        return added

    def _where(self, entry: dict[str, Any]) -> tuple[int, int]:
        return int(entry["source_id"].split("-")[1][:3]), entry["start_ms"] // self.clip_ms
