"""Stages with faults, for tests of the run: recipes name them as `tests.pipeline.trial_stages:<Class>`."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from corpus.schema import fields
from stages.base import Ending, Needs, Services, with_columns, with_endings
from stages.gate import Rules


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
class Kills(Trial):
    """Some clips of a unit kill the worker, each in the way that `how` says, unless `mended` is in the run folder.

    Each time the stage sees such a clip it leaves a line in the file `seen`.
    """

    unit: str = ""
    rows: tuple[int, ...] = ()
    how: str = "segfault"
    limit_s: float = 60.0

    adds: ClassVar[pa.Schema] = pa.schema([])

    def open(self, services: Services) -> None:
        super().open(services)
        self.watch = services.watch
        if self.how == "open":
            os.kill(os.getpid(), signal.SIGSEGV)

    def run(self, clips: pa.Table) -> pa.Table:
        for clip in clips.select(["clip_id", "unit_id", "row"]).to_pylist():
            is_poison = (clip["unit_id"] == self.unit or not self.unit) and (clip["row"] in self.rows or not self.rows)
            if is_poison and not (self.run_root / "mended").exists():
                with (self.run_root / "seen").open("a") as file:
                    file.write(f"{clip['clip_id']}\n")
                self.kill(clip["clip_id"])
        return clips

    def kill(self, clip_id: str) -> None:
        if self.how == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif self.how == "exit":
            os._exit(11)
        elif self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.how == "hang":  # in native code that holds Python's lock, with a child that sleeps
            child = subprocess.Popen(["sleep", "600"])
            (self.run_root / f"child-{child.pid}").touch()
            with self.watch("decode", clip_id, limit_s=self.limit_s):
                ctypes.PyDLL(None).sleep(600)


@dataclass(kw_only=True)
class Asks(Trial):
    """Asks the governor for a turn for each unit, and says what it was told."""

    adds: ClassVar[pa.Schema] = fields("caption")

    def open(self, services: Services) -> None:
        super().open(services)
        self.governor = services.governor

    def run(self, clips: pa.Table) -> pa.Table:
        turn = self.governor.ask(Rules(sessions=(("guest", 10.0),)), "example.org")
        return with_columns(clips, {"caption": [f"{turn.site} as {turn.session}"] * clips.num_rows}, self.adds)


@dataclass(kw_only=True)
class Grows(Trial):
    """Never gives memory back. Leaves its process's number in the run folder for each unit."""

    mb: int = 0

    adds: ClassVar[pa.Schema] = pa.schema([])

    def open(self, services: Services) -> None:
        super().open(services)
        self.kept: list[bytes] = []

    def run(self, clips: pa.Table) -> pa.Table:
        self.kept.append(os.urandom(1_000_000) * self.mb)
        (self.run_root / f"{'actor' if self.model else 'task'}-{clips.column('unit_id')[0]}-{os.getpid()}").touch()
        return clips


@dataclass(kw_only=True)
class Interpreter(Trial):
    """Says which Python it runs in."""

    adds: ClassVar[pa.Schema] = fields("caption")

    def run(self, clips: pa.Table) -> pa.Table:
        import sys

        return with_columns(clips, {"caption": [sys.executable] * clips.num_rows}, self.adds)


@dataclass(kw_only=True)
class Faulty(Trial):
    """Fails the clips that `<name>.faults.json` in the run folder gives a reason for."""

    name: str = "fetch"

    def run(self, clips: pa.Table) -> pa.Table:
        faults = json.loads((self.run_root / f"{self.name}.faults.json").read_text())
        ids = clips.column("clip_id").to_pylist()
        clips = self.made(clips, ids)
        return with_endings(clips, [Ending("failed", faults[i], f"\x1b[31m{i}") if i in faults else None for i in ids])

    def made(self, clips: pa.Table, ids: list[str]) -> pa.Table:
        return with_columns(clips, {"audio": [i.encode() for i in ids], "codec": ["flac"] * len(ids)}, self.adds)


@dataclass(kw_only=True)
class FaultyModel(Faulty):
    """A caption of each clip that names its attempt, or `alike` for all, so that neighbours are joined."""

    name: str = "models"
    alike: bool = False

    adds: ClassVar[pa.Schema] = fields("caption")

    def made(self, clips: pa.Table, ids: list[str]) -> pa.Table:
        attempts = clips.column("attempt").to_pylist()
        captions = ["alike" if self.alike else f"{i} {attempt}" for i, attempt in zip(ids, attempts, strict=True)]
        return with_columns(clips, {"caption": captions}, self.adds)


@dataclass(kw_only=True)
class FaultyLater(Faulty):
    """Adds nothing."""

    name: str = "later"

    adds: ClassVar[pa.Schema] = pa.schema([])

    def made(self, clips: pa.Table, ids: list[str]) -> pa.Table:
        return clips
