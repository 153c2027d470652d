"""What reading one list came to: lines, sources, clips, and all that was left out, by reason.

A list of millions has broken lines. They end nothing: they are counted, and the first ones are told with their numbers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

#: Broken lines, and examples of a reason, that are told one by one.
TOLD = 10


@dataclass
class ListReport:
    """One list of the recipe. `left_out` counts clips by reason; `empty_sources` had none that stayed."""

    name: str
    lines: int = 0
    broken_lines: int = 0
    first_broken: list[str] = field(default_factory=list)  # "line 17: not JSON"
    sources: int = 0
    empty_sources: int = 0
    clips: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)  # reason -> the first few rows it was said of

    def broken(self, number: int, why: str) -> None:
        """A line that says nothing."""
        self.broken_lines += 1
        if len(self.first_broken) < TOLD:
            self.first_broken.append(f"line {number}: {why}")

    def leave_out(self, reason: str, example: str) -> None:
        """A row that is no clip of ours."""
        self.left_out[reason] += 1
        told = self.examples.setdefault(reason, [])
        if len(told) < TOLD:
            told.append(example[:200])

    @property
    def is_told(self) -> bool:
        """Whether there is more to say than how many sources it has."""
        return bool(self.broken_lines or self.left_out or self.clips)

    def as_json(self) -> dict[str, Any]:
        """With fixed keys."""
        return {
            "name": self.name,
            "lines": self.lines,
            "broken_lines": self.broken_lines,
            "first_broken": self.first_broken,
            "sources": self.sources,
            "empty_sources": self.empty_sources,
            "clips": self.clips,
            "left_out": dict(sorted(self.left_out.items())),
            "examples": self.examples,
        }

    def text(self) -> list[str]:
        """For a terminal."""
        lines = [f"{self.name}: {self.clips} clips of {self.sources} sources"]
        if self.left_out:
            told = ", ".join(f"{reason} {count}" for reason, count in sorted(self.left_out.items()))
            lines.append(f"  left out: {told} ({self.empty_sources} sources without a clip that stays)")
        for reason, examples in sorted(self.examples.items()):
            lines.append(f"  {reason}: {'; '.join(examples)}")
        if self.broken_lines:
            lines.append(f"  broken lines: {self.broken_lines} of {self.lines}; {'; '.join(self.first_broken)}")
        return lines
