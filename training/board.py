"""Curves, sounds, pictures and texts for TensorBoard.

tensorboardX's own SummaryWriter writes in a thread, from a queue: on a full disk the thread dies, and whoever puts
something into the queue then waits for ever. Here its records are written at once, and what a disk refuses is raised.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from training.lesson import Sound


class Board:
    """A file in `folder`. What earlier ones tell of steps after `first_step` is hidden."""

    def __init__(self, folder: Path, first_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._events = EventsWriter(str(folder / "events"))
        self._events.write_event(Event(step=first_step + 1, session_log=SessionLog(status=SessionLog.START)))

    def scalar(self, tag: str, value: float, step: int) -> None:
        self._add(summary.scalar(tag, value), step)

    def sound(self, tag: str, sound: Sound, step: int) -> None:
        self._add(summary.audio(_clean(tag), sound.wave.clip(-1, 1), sample_rate=sound.sample_rate_hz), step)

    def image(self, tag: str, image_HWC: np.ndarray, step: int) -> None:
        self._add(summary.image(_clean(tag), image_HWC, dataformats="HWC"), step)

    def text(self, tag: str, text: str, step: int) -> None:
        self._add(summary.text(tag, text), step)

    def flush(self) -> None:
        self._events.flush()

    def close(self) -> None:
        self._events.close()

    def _add(self, made: Any, step: int) -> None:
        self._events.write_event(Event(wall_time=time.time(), summary=made, step=step))


def _clean(tag: str) -> str:
    """Prompts may be names of sounds; TensorBoard takes few signs."""
    return "".join(c if c.isalnum() or c in "/._-" else "_" for c in tag)[:100]
