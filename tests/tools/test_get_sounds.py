import importlib.util
import io
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "tools" / "sounds" / "get_sounds.py"
spec = importlib.util.spec_from_file_location("get_sounds", PATH)
get_sounds = importlib.util.module_from_spec(spec)
spec.loader.exec_module(get_sounds)


def riff(content):
    return b"RIFF" + struct.pack("<I", len(content)) + content


def test_a_sound_set_of_openttd_is_read():
    waves, names = [riff(b"WAVEone!"), riff(b"WAVE")], [b"a cow\0", b"x\0"]
    body, table, at = b"", b"", 16
    for wave, name in zip(waves, names, strict=True):
        entry = bytes([len(name)]) + name + wave + b"\0"
        table += struct.pack("<II", at | 0x80000000 if not table else at, len(entry))
        body += entry
        at += len(entry)
    assert dict(get_sounds.read_cat(table + body)) == {"00.wav": waves[0], "01.wav": waves[1]}


def group(files):
    """An OpenClonk group; a dict is a group inside it."""
    bodies = [group(v) if isinstance(v, dict) else v for v in files.values()]
    head = bytearray(204)
    head[:24] = b"RedWolf Design GrpFolder"
    head[36:40] = struct.pack("<i", len(files))
    for at in range(0, 202, 3):
        head[at], head[at + 2] = head[at + 2], head[at]
    entries, offset = b"", 0
    for (name, value), body in zip(files.items(), bodies, strict=True):
        entry = name.encode().ljust(260, b"\0") + struct.pack(
            "<5i", 0, int(isinstance(value, dict)), len(body), 0, offset
        )
        entries += entry.ljust(316, b"\0")
        offset += len(body)
    return bytes(b ^ 237 for b in head) + entries + b"".join(bodies)


def test_a_group_of_openclonk_is_read_with_groups_inside():
    packed = zlib.compressobj(wbits=31)
    data = packed.compress(group({"authors.txt": b"me", "Animals.ocg": {"Bat.wav": b"chirp"}})) + packed.flush()
    files = dict(get_sounds.read_ocg(b"\x1e\x8c" + data[2:]))
    assert files == {"authors.txt": b"me", "Animals.ocg/Bat.wav": b"chirp"}


def test_patterns_find_files_and_files_inside_files(tmp_path):
    folder = tmp_path / "usr" / "sounds"
    folder.mkdir(parents=True)
    (folder / "a.ogg").write_bytes(b"a")
    (folder / "b.txt").write_bytes(b"b")
    store = io.BytesIO()
    with zipfile.ZipFile(store, "w") as archive:
        archive.writestr("audio/lion.ogg", b"roar")
        archive.writestr("audio/lion.xml", b"<x/>")
        archive.writestr("art/lion.ogg", b"no")
    (folder / "data.zip").write_bytes(store.getvalue())
    assert list(get_sounds.matching(tmp_path, "usr/sounds/*.ogg")) == [("usr/sounds/a.ogg", b"a")]
    found = list(get_sounds.matching(tmp_path, "usr/sounds/data.zip!/audio/*"))
    assert found == [("usr/sounds/data.zip!/audio/lion.ogg", b"roar")]


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("usr/a.wav", ("usr/a.wav", None)),
        ("usr/x.rcc!/dog.ogg", ("usr/x.rcc", "dog.ogg")),
        ("usr/x.sf3#Piano", ("usr/x.sf3", "Piano")),
    ],
)
def test_a_path_may_lead_into_a_file(path, parts):
    assert get_sounds.split_path(path) == parts
