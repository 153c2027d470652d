"""A file of which only some blocks are here: what is here is right, what is not here is told."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from stages.partial import BLOCK_BYTES, MissingBytes, PartialMedia, PartialStore, Told

WHOLE = random.Random(1).randbytes(5 * BLOCK_BYTES + 1234)
TOLD = Told(size_bytes=len(WHOLE), etag='"1"')


@pytest.fixture
def store(tmp_path: Path) -> PartialStore:
    made = PartialStore(tmp_path / "ranges.json")
    made.begin(TOLD)
    made.put(1, WHOLE[BLOCK_BYTES : 3 * BLOCK_BYTES])
    made.put(5, WHOLE[5 * BLOCK_BYTES :])
    return made


def test_another_process_sees_the_blocks(store: PartialStore):
    again = PartialStore(store.path)
    assert (again.told, again.blocks, again.size_bytes) == (TOLD, 6, len(WHOLE))
    assert [again.get(block) is not None for block in range(6)] == [False, True, True, False, False, True]
    assert again.get(2) == WHOLE[2 * BLOCK_BYTES : 3 * BLOCK_BYTES]
    assert again.get(5) == WHOLE[5 * BLOCK_BYTES :]


def test_it_reads_as_a_file_does(store: PartialStore):
    file = PartialMedia(store).reopen()
    for start in (BLOCK_BYTES, 2 * BLOCK_BYTES - 10, len(WHOLE) - 50):
        file.seek(start)
        assert file.read(30) == WHOLE[start : start + 30]
    file.seek(-5, 2)
    assert (file.read(), file.read(), file.tell()) == (WHOLE[-5:], b"", len(WHOLE))
    file.seek(len(WHOLE) + 100)
    assert file.read(1) == b""


def test_bytes_that_are_not_here_are_never_zeros(store: PartialStore):
    media = PartialMedia(store)
    file = media.reopen()
    file.seek(3 * BLOCK_BYTES - 10)
    with pytest.raises(MissingBytes):
        file.read(30)
    assert isinstance(media.fault, MissingBytes)
    with pytest.raises(MissingBytes):  # nothing is believed any more
        media.reopen().read(1)
    with pytest.raises(MissingBytes):
        media.check()


def test_views_have_positions_of_their_own(store: PartialStore):
    media = PartialMedia(store)
    one, other = media.reopen(), media.reopen()
    one.seek(BLOCK_BYTES)
    other.seek(2 * BLOCK_BYTES)
    assert one.read(10) == WHOLE[BLOCK_BYTES : BLOCK_BYTES + 10]
    assert other.read(10) == WHOLE[2 * BLOCK_BYTES : 2 * BLOCK_BYTES + 10]


def test_what_is_missing_is_fetched_once(store: PartialStore):
    asked = []

    def fetch(block: int) -> None:
        asked.append(block)
        store.put(block, WHOLE[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES])

    media = PartialMedia(store, fetch)
    assert media.reopen().read() == media.reopen().read() == WHOLE
    assert asked == [0, 3, 4]


def test_damaged_bytes_are_no_bytes(store: PartialStore):
    with store.path.with_suffix(".bin").open("r+b") as file:
        file.seek(2 * BLOCK_BYTES + 7)
        file.write(b"?")
    again = PartialStore(store.path)
    assert again.get(1) is not None
    assert again.get(2) is None
    assert not again.has(2)
    store.path.with_suffix(".bin").unlink()
    assert PartialStore(store.path).get(1) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"form": 2}', '{"form": 1, "told": {}, "blocks": {}}'])
def test_a_list_that_is_none_is_an_empty_store(store: PartialStore, text: str):
    store.path.write_text(text)
    again = PartialStore(store.path)
    assert (again.told, again.get(1)) == (None, None)


def test_a_new_file_keeps_nothing_of_the_old_one(store: PartialStore):
    store.begin(Told(size_bytes=len(WHOLE), etag='"2"'))
    assert store.get(1) is None
    assert not json.loads(store.path.read_text())["blocks"] if store.path.exists() else True
    store.drop()
    assert list(store.path.parent.iterdir()) == []
