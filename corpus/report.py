"""What a verification found: a line per check, and whether all is well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `detail` says what was found and, on a fault, where and what to do."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True)
class Report:
    """All checks of one verification, in the order they were made."""

    checks: Sequence[Check]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def faults(self) -> list[Check]:
        return [check for check in self.checks if not check.ok]

    def lines(self) -> list[str]:
        """`ok    <name>: <detail>` or `FAULT <name>: <detail>`, one a check."""
        return [
            f"{'ok   ' if check.ok else 'FAULT'} {check.name}{': ' if check.detail else ''}{check.detail}"
            for check in self.checks
        ]
