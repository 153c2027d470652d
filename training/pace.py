"""How fast a training goes: clips/s, MFU, the share of time it waits for data, the time to go."""

from __future__ import annotations

import time

from training.mfu import mfu


class Pace:
    """Since the last line; looks at held-out clips and checkpoints are left out of all but the time to go."""

    def __init__(self, flops_per_clip: float | None, peak_flops_all: float | None) -> None:
        self._flops_per_clip, self._peak_flops = flops_per_clip, peak_flops_all
        self._began, self._steps = time.monotonic(), 0
        self._clips, self._seconds, self._waited_s = 0, 0.0, 0.0

    def step(self, clips: int, seconds: float, waited_s: float) -> None:
        """`seconds` of the step, in which `waited_s` were waited for data."""
        self._steps += 1
        self._clips += clips
        self._seconds += seconds
        self._waited_s += waited_s

    def begin_again(self) -> None:
        self._clips, self._seconds, self._waited_s = 0, 0.0, 0.0

    def numbers(self) -> dict[str, float]:
        """`clips_per_s`, `waiting_share`, and `mfu` where it can be told."""
        seconds = max(self._seconds, 1e-9)
        clips_per_s = self._clips / seconds
        used = mfu(self._flops_per_clip, clips_per_s, self._peak_flops)
        told = {"clips_per_s": clips_per_s, "waiting_share": self._waited_s / seconds}
        return told if used is None else told | {"mfu": used}

    def text(self) -> str:
        numbers = self.numbers()
        used = f"{100 * numbers['mfu']:.0f} %" if "mfu" in numbers else "-"
        return (
            f"{numbers['clips_per_s']:.1f} clips/s MFU {used} ({100 * numbers['waiting_share']:.0f} % waiting for data)"
        )

    def left(self, steps: int) -> str:
        """h:mm:ss for so many more steps."""
        whole = int((time.monotonic() - self._began) / max(self._steps, 1) * steps)
        return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
