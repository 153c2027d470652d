"""Cheap stages of benchmarks/kill_road.py: they last a moment, and note each unit that they begin."""

from __future__ import annotations

import io
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import soundfile

from corpus import units
from corpus.schema import fields
from corpus.store import Store
from stages.base import Needs, Services, with_columns


@dataclass(kw_only=True)
class Note:
    """Appends a line to `log` for each unit it is given, and whether that was committed by then; lasts `pause_s`."""

    leg: str
    log: str
    pause_s: float = 0.2
    model: bool = False

    reads: ClassVar[tuple[str, ...]] = ("unit_id",)
    adds: ClassVar[pa.Schema] = pa.schema([])

    def needs(self) -> Needs:
        return Needs(model=self.model)

    def open(self, services: Services) -> None:
        self._store = Store(services.run_root)

    def run(self, clips: pa.Table) -> pa.Table:
        unit_id = clips.column("unit_id")[0].as_py()
        done = self._store.exists(units.unit_path(self.leg, unit_id, root=self.leg == "fetch"))
        line = json.dumps({"leg": self.leg, "unit": unit_id, "committed": done}) + "\n"
        handle = os.open(Path(self.log), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(handle, line.encode())
        os.close(handle)
        time.sleep(self.pause_s)
        return clips

    def close(self) -> None:
        """Nothing to give back."""


@dataclass(kw_only=True)
class Loudness(Note):
    """On an actor, as a model would be: hears the clips' samples and says how loud they are."""

    model: bool = True

    reads: ClassVar[tuple[str, ...]] = ("unit_id", "audio")
    adds: ClassVar[pa.Schema] = fields("caption")

    def run(self, clips: pa.Table) -> pa.Table:
        clips = super().run(clips)
        waves = [soundfile.read(io.BytesIO(data))[0] for data in clips.column("audio").to_pylist()]
        said = [f"a sound of {wave.size} samples, {abs(wave).mean():.9f} loud" for wave in waves]
        return with_columns(clips, {"caption": said}, self.adds)
