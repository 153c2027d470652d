"""A small disk of its own for a test: a tmpfs that can be filled, freed, made larger and made read-only."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


class SmallDisk:
    """Mounted at `path`; skips the test where this user may not mount."""

    def __init__(self, path: Path, size_kb: int) -> None:
        self.path = path
        path.mkdir()
        asked = ["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(path)]
        try:
            done = subprocess.run(asked, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("no mount command here")
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")

    def grow(self, size_kb: int) -> None:
        self._remount(f"size={size_kb}k")

    def fill(self, leave_kb: int = 0) -> Path:
        """Fill the disk but for `leave_kb`; deleting the file that is returned frees it again."""
        filler = self.path / "filler"
        block = b"x" * 4096
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(block):
                    pass
            except OSError:
                pass
            file.truncate(max(file.tell() // 4096 * 4096 - leave_kb * 1024, 0))
        return filler

    def read_only(self) -> None:
        self._remount("ro")

    def writable(self) -> None:
        self._remount("rw")

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=False, capture_output=True)

    def _remount(self, option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", str(self.path)], check=True)
