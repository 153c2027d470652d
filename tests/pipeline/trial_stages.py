"""Stages with faults, for tests of the run: recipes name them as `tests.pipeline.trial_stages:<Class>`."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from corpus.schema import fields
from stages.base import Ending, Needs, Services, with_columns, with_endings


@dataclass(kw_only=True)
class Trial:
    """Gives each clip bytes of "audio" and ends every third; `sleep_s` makes a unit last."""

    sleep_s: float = 0.0
    model: bool = False

    reads: ClassVar[tuple[str, ...]] = ("row",)
    adds: ClassVar[pa.Schema] = fields("audio", "codec")

    def needs(self) -> Needs:
        return Needs(model=self.model)

    def open(self, services: Services) -> None:
        self.run_root = Path(services.run_root)

    def run(self, clips: pa.Table) -> pa.Table:
        time.sleep(self.sleep_s)
        ids = clips.column("clip_id").to_pylist()
        clips = with_columns(clips, {"audio": [i.encode() for i in ids], "codec": ["flac"] * len(ids)}, self.adds)
        rows = clips.column("row").to_pylist()
        return with_endings(clips, [Ending("filtered", "third") if row % 3 == 2 else None for row in rows])

    def close(self) -> None:
        """Nothing to give back."""


@dataclass(kw_only=True)
class Caption(Trial):
    adds: ClassVar[pa.Schema] = fields("caption")

    def run(self, clips: pa.Table) -> pa.Table:
        return with_columns(
            clips, {"caption": [f"caption of {i}" for i in clips.column("clip_id").to_pylist()]}, self.adds
        )


@dataclass(kw_only=True)
class RaisesAt(Trial):
    """A bug that shows in one unit."""

    unit: str = ""

    def run(self, clips: pa.Table) -> pa.Table:
        if self.unit in clips.column("unit_id").to_pylist():
            raise ZeroDivisionError("a bug")
        return super().run(clips)


@dataclass(kw_only=True)
class DiesAt(Trial):
    """A crash that takes the worker process with it, whenever the file `mended` is not in the run folder."""

    unit: str = ""

    def run(self, clips: pa.Table) -> pa.Table:
        if self.unit in clips.column("unit_id").to_pylist() and not (self.run_root / "mended").exists():
            os._exit(11)
        return super().run(clips)


@dataclass(kw_only=True)
class Interpreter(Trial):
    """Says which Python it runs in."""

    adds: ClassVar[pa.Schema] = fields("caption")

    def run(self, clips: pa.Table) -> pa.Table:
        import sys

        return with_columns(clips, {"caption": [sys.executable] * clips.num_rows}, self.adds)
