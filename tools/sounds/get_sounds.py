#!/usr/bin/env python3
"""Unpack the labelled recordings of labels.jsonl, and the unlabelled ones of wild.jsonl, from Debian packages.

usage: get_sounds.py OUT_DIR [PACKAGE ...]

Each package is fetched with `apt-get download` (run `apt-get update` before; nothing is installed) and the
recordings are taken out of it as they are. OUT_DIR/sounds.jsonl gets one line per labelled recording: `file`,
relative to OUT_DIR, beside the label's fields. OUT_DIR/wild.jsonl does the same for everything that the patterns
of wild.jsonl match: freely licensed sound that only a teacher can name. A package that is unpacked already is not
fetched again. All packages together are a download of 2.2 GB (0ad-data alone 1.4 GB). Needs Python 3.11 and apt,
nothing else.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

LABELS = Path(__file__).parent / "labels.jsonl"
WILD = Path(__file__).parent / "wild.jsonl"
AUDIO_SUFFIXES = (".ogg", ".wav")
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


def read_zip(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(inner path, bytes) of every sound file in a zip archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(AUDIO_SUFFIXES):
                yield name, archive.read(name)


def read_cat(data: bytes) -> Iterator[tuple[str, bytes]]:
    """("07.wav", bytes) of every sample in an OpenTTD sound set."""
    count = (struct.unpack("<I", data[:4])[0] & 0x7FFFFFFF) // 8
    for number in range(count):
        start = struct.unpack("<I", data[8 * number : 8 * number + 4])[0] & 0x7FFFFFFF
        wave = start + 1 + data[start]  # after the sample's description
        size = struct.unpack("<I", data[wave + 4 : wave + 8])[0] + 8
        yield f"{number:02d}.wav", data[wave : wave + size]


def read_ocg(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(inner path, bytes) of every file in an OpenClonk group."""
    if data[:2] == b"\x1e\x8c":  # gzip under another magic number
        data = zlib.decompressobj(31).decompress(b"\x1f\x8b" + data[2:])
    head = bytearray(byte ^ 237 for byte in data[:204])
    for at in range(0, 202, 3):
        head[at], head[at + 2] = head[at + 2], head[at]
    count = struct.unpack("<i", head[36:40])[0]
    for number in range(count):
        entry = data[204 + 316 * number : 520 + 316 * number]
        name = entry[:260].split(b"\0")[0].decode("latin1")
        _, is_group, size, _, offset = struct.unpack("<5i", entry[260:280])
        start = 204 + 316 * count + offset
        body = data[start : start + size]
        if is_group:
            yield from ((f"{name}/{inner}", content) for inner, content in read_ocg(body))
        else:
            yield name, body


CONTAINERS: dict[str, Callable[[bytes], Iterator[tuple[str, bytes]]]] = {
    ".rcc": read_rcc,
    ".sf3": read_sf3,
    ".zip": read_zip,
    ".cat": read_cat,
    ".ocg": read_ocg,
}


def split_path(path: str) -> tuple[str, str | None]:
    """A path as (file in the package, name inside that file or None)."""
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
        inside = dict(CONTAINERS[Path(outer).suffix]((root / outer).read_bytes()))
        for inner, row in rows:
            suffix = ".ogg" if outer.endswith(".sf3") else Path(inner).suffix.lower()
            yield row, inside[inner], suffix


def matching(root: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """(path in the package, bytes) of every sound file that a pattern of wild.jsonl names; `*` spans folders."""
    outer, inner = split_path(pattern)
    if inner is not None:
        for name, data in CONTAINERS[Path(outer).suffix]((root / outer).read_bytes()):
            if fnmatchcase(name, inner) and name.endswith(AUDIO_SUFFIXES):
                yield f"{outer}!/{name}", data
        return
    for file in sorted(root.rglob("*")):
        path = file.relative_to(root).as_posix()
        if fnmatchcase(path, outer) and file.is_file() and not file.is_symlink():
            yield path, file.read_bytes()


def unpack(package: str, root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", "-qq", package], cwd=root.parent, check=True)
    deb = next(root.parent.glob(f"{package}_*.deb"))
    subprocess.run(["dpkg", "-x", deb, root], check=True)
    deb.unlink()


def take(package: str, out: Path, labels: list[Row]) -> list[Row]:
    """The labelled recordings of an unpacked package, written to `out`; their rows with `file`."""
    wanted = [row for row in labels if row["package"] == package]
    found = []
    for number, (row, data, suffix) in enumerate(recordings(out / ".unpacked" / package, wanted)):
        file = Path(package) / f"{number:04d}{suffix}"
        (out / file).write_bytes(data)
        found.append({"file": str(file)} | row)
    return found


def take_wild(package: str, out: Path, patterns: list[Row]) -> list[Row]:
    """Everything that the package's patterns match, each recording once, written to `out`."""
    found: dict[bytes, Row] = {}
    for row in patterns:
        if row["package"] == package:
            for path, data in matching(out / ".unpacked" / package, row["pattern"]):
                if data not in found:
                    file = Path(package) / f"wild-{len(found):04d}{Path(path).suffix}"
                    (out / file).write_bytes(data)
                    found[data] = {
                        "file": str(file), "package": package, "path_in_package": path, "licence": row["licence"]
                    }  # fmt: skip
    return list(found.values())


def read_rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_rows(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1]).absolute()
    labels, patterns = read_rows(LABELS), read_rows(WILD)
    packages = sys.argv[2:] or sorted({row["package"] for row in labels + patterns})
    sounds, wild = [], []
    for package in packages:
        if not (out / ".unpacked" / package).exists():
            unpack(package, out / ".unpacked" / package)
        (out / package).mkdir(parents=True, exist_ok=True)
        labelled, unlabelled = take(package, out, labels), take_wild(package, out, patterns)
        sounds += labelled
        wild += unlabelled
        print(f"{package}: {len(labelled)} labelled, {len(unlabelled)} unlabelled recordings", file=sys.stderr)
    write_rows(out / "sounds.jsonl", sounds)
    write_rows(out / "wild.jsonl", wild)


if __name__ == "__main__":
    main()
