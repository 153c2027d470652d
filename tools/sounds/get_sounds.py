#!/usr/bin/env python3
"""Unpack the labelled recordings of labels.jsonl from Debian packages.

usage: get_sounds.py OUT_DIR [PACKAGE ...]

Each package is fetched with `apt-get download` (run `apt-get update` before; nothing is installed) and the
labelled recordings are taken out of it as they are. OUT_DIR/sounds.jsonl gets one line per recording: `file`,
relative to OUT_DIR, beside the label's fields. A package that is unpacked already is not fetched again.
Needs Python 3.11 and apt, nothing else.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

LABELS = Path(__file__).parent / "labels.jsonl"
Row = dict[str, str]


def read_rcc(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(inner path, bytes) of every file in a Qt resource file, versions 1 to 3."""
    _, version, tree, blobs, names = struct.unpack(">4sIIII", data[:20])
    entry = 22 if version >= 2 else 14
    stack = [(0, "")]
    while stack:
        index, folder = stack.pop()
        at = tree + index * entry
        name_at, flags = struct.unpack(">IH", data[at : at + 6])
        path = folder
        if index:
            start = names + name_at
            length = struct.unpack(">H", data[start : start + 2])[0]
            path = f"{folder}/{data[start + 6 : start + 6 + 2 * length].decode('utf-16-be')}"
        if flags & 2:  # a folder: its children stand side by side
            count, first = struct.unpack(">II", data[at + 6 : at + 14])
            stack += [(first + k, path) for k in range(count)]
            continue
        start = blobs + struct.unpack(">I", data[at + 10 : at + 14])[0]
        size = struct.unpack(">I", data[start : start + 4])[0]
        body = data[start + 4 : start + 4 + size]
        if flags & 1:
            body = zlib.decompress(body[4:])
        if not flags & 4:
            yield path.lstrip("/"), body


def read_sf3(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(sample name, Ogg Vorbis bytes) of every compressed sample in a SoundFont 3 file."""
    table = data.rfind(b"shdr")
    count = struct.unpack("<I", data[table + 4 : table + 8])[0] // 46 - 1
    samples = data.find(b"smpl") + 8
    for k in range(count):
        row = struct.unpack("<20sIIIIIBbHH", data[table + 8 + 46 * k : table + 54 + 46 * k])
        if row[9] & 0x10:
            yield row[0].split(b"\0")[0].decode("latin1").strip(), data[samples + row[1] : samples + row[2]]


def split_path(path: str) -> tuple[str, str | None]:
    """A labelled path as (file in the package, name inside that file or None)."""
    for mark, container in (("!/", "!/"), (".sf3#", "#")):
        if mark in path:
            outer, inner = path.split(container, 1)
            return outer, inner
    return path, None


def recordings(root: Path, wanted: list[Row]) -> Iterator[tuple[Row, bytes, str]]:
    """(label row, bytes, file extension) of every wanted recording below `root`."""
    containers: dict[str, list[tuple[str, Row]]] = {}
    for row in wanted:
        outer, inner = split_path(row["path_in_package"])
        if inner is None:
            yield row, (root / outer).read_bytes(), Path(outer).suffix.lower()
        else:
            containers.setdefault(outer, []).append((inner, row))
    for outer, rows in containers.items():
        data = (root / outer).read_bytes()
        is_rcc = outer.endswith(".rcc")
        inside = dict(read_rcc(data) if is_rcc else read_sf3(data))
        for inner, row in rows:
            yield row, inside[inner], Path(inner).suffix.lower() if is_rcc else ".ogg"


def unpack(package: str, root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", "-qq", package], cwd=root.parent, check=True)
    deb = next(root.parent.glob(f"{package}_*.deb"))
    subprocess.run(["dpkg", "-x", deb, root], check=True)
    deb.unlink()


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1]).absolute()
    labels: list[Row] = [json.loads(line) for line in LABELS.read_text().splitlines()]
    packages = sys.argv[2:] or sorted({row["package"] for row in labels})
    lines = []
    for package in packages:
        wanted = [row for row in labels if row["package"] == package]
        root = out / ".unpacked" / package
        if not root.exists():
            unpack(package, root)
        (out / package).mkdir(parents=True, exist_ok=True)
        for number, (row, data, suffix) in enumerate(recordings(root, wanted)):
            file = Path(package) / f"{number:04d}{suffix}"
            (out / file).write_bytes(data)
            lines.append(json.dumps({"file": str(file)} | row))
        print(f"{package}: {len(wanted)} recordings", file=sys.stderr)
    (out / "sounds.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
