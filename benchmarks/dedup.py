"""The dedup leg at size: made-up fingerprints with planted copies, the real leg over a real run folder.

    python -m benchmarks.dedup --clips 1000000
    python -m benchmarks.dedup --clips 250000 500000 1000000
    python -m benchmarks.dedup --clips 250000 --key-values 53000        # each key as common as among 47 M clips

Fingerprints are drawn so that keys collide as those of real recordings of noise do (docs/dedup.md), 200 words each;
one clip in twenty is a planted copy: shifted by up to 20 frames, a share of its bits turned (5 to 25 %), its keys
partly lost. Reported for each size: wall and CPU seconds of the leg (compaction of its columns included), peak memory
of all its processes together, the share of planted copies found, and clips dropped that are none. Making the corpus
is not counted.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus import compact, plan_store, units
from corpus.groups import scan
from corpus.schema import AUDIO, FINGERPRINT, OUTCOME, PLAN, SOURCES
from corpus.store import Store
from pipeline.config import Recipe
from pipeline.engine import stop_ray
from pipeline.run import LegEnd, UnitDone, run_leg

FRAMES, KEYS, COPIES_SHARE = 200, 40, 0.05
#: Key values there are: two keys of different clips are equal with probability 1e-7, as those of noise are.
KEY_VALUES = 10_000_000
UNIT_CLIPS, PART_CLIPS = 128, 65_536

Words = npt.NDArray[np.uint32]


def recipe(run: str) -> Recipe:
    fetch = {"stages": [{"use": "benchmarks.synthetic:Nothing"}, {"use": "fingerprint"}]}
    legs = {"fetch": fetch, "dedup": {"after": "fetch", "job": {"use": "dedup"}}}
    return Recipe.model_validate({"name": "bench", "run": run, "legs": legs})


# -- the made-up corpus


def make(store: Store, clips: int, seed: int = 0, key_values: int = KEY_VALUES) -> npt.NDArray[np.int64]:
    """Plan, commit and compact `clips` clips; returns of each planted copy its row and that of its original."""
    rng = np.random.default_rng(seed)
    planted = np.sort(rng.choice(np.arange(clips // 2, clips), int(clips * COPIES_SHARE), replace=False))
    originals = rng.choice(clips // 2, len(planted), replace=False)
    pairs = np.stack([planted, originals], axis=1)
    plant(store, 0, clips, pairs, seed, key_values)
    return pairs


def plant(
    store: Store,
    first: int,
    clips: int,
    planted: npt.NDArray[np.int64],
    seed: int = 0,
    key_values: int = KEY_VALUES,
) -> None:
    """Plan and commit the clips from number `first` (a part's first) on, and compact."""
    of = dict(planted.tolist())
    for at in range(first, first + clips, PART_CLIPS):
        _part(store, at, min(PART_CLIPS, first + clips - at), of, (seed, key_values))
    compact.compact(store, "fetch", root=True)


def _words_and_keys(clip: int, seed: tuple[int, int]) -> tuple[Words, Words, npt.NDArray[np.uint16]]:
    rng = np.random.default_rng((*seed, clip))
    words = rng.integers(0, 1 << 32, FRAMES, np.uint32)
    keys = rng.integers(0, seed[1], KEYS, np.uint32) * np.uint32((1 << 32) // seed[1])
    return words, keys, rng.integers(0, FRAMES - 12, KEYS).astype(np.uint16)


def _copy(clip: int, original: int, seed: tuple[int, int]) -> tuple[Words, Words, npt.NDArray[np.uint16]]:
    """The original, shifted, with bits turned, and with three to ten of its keys left among others."""
    own, own_keys, own_places = _words_and_keys(clip, seed)
    words, keys, places = _words_and_keys(original, seed)
    rng = np.random.default_rng((*seed, clip, original))
    shift = int(rng.integers(0, 21))
    moved = np.concatenate([words[shift:], own[:shift]])
    turned = rng.random((FRAMES, 32)) < rng.uniform(0.05, 0.25)
    moved ^= np.packbits(turned, axis=1).view("<u4").ravel()
    left = rng.permutation(np.flatnonzero(places >= shift))[: int(rng.integers(3, 11))]
    own_keys[: len(left)], own_places[: len(left)] = keys[left], places[left] - shift
    return moved, own_keys, own_places


def _fingerprint(clip: int, of: dict[int, int], seed: tuple[int, int]) -> bytes:
    from corpus.fingerprints import pack

    words, keys, places = _copy(clip, of[clip], seed) if clip in of else _words_and_keys(clip, seed)
    order = np.argsort(keys, kind="stable")
    return pack(words, keys[order], places[order])


def _part(store: Store, first: int, count: int, of: dict[int, int], seed: tuple[int, int]) -> None:
    part = f"{first // PART_CLIPS:05d}"
    number = np.arange(count)
    names = [f"s{first + at:09d}_0_10000" for at in number.tolist()]
    unit_ids = [f"{part}-{at // UNIT_CLIPS:05d}" for at in number.tolist()]
    given = {
        "clip_id": names,
        "source_id": [name[:10] for name in names],
        "source_key": [name[:10] for name in names],
        "unit_id": unit_ids,
        "row": number % UNIT_CLIPS,
        "start_ms": np.zeros(count, np.int64),
        "end_ms": np.full(count, 10_000),
        "source_units": np.ones(count, np.int32),
    }
    plan = _table(PLAN, given, count)
    listed = {**{name: given[name] for name in ("source_key", "source_id")}, "first_unit": unit_ids}
    more = {"clips": np.ones(count, np.int32), "outcome": ["planned"] * count, "attempt": np.zeros(count, np.int16)}
    plan_store.write_inputs(store, part, pa.table({"source_key": given["source_key"]}))
    plan_store.write_part(store, part, plan, _table(SOURCES, {**listed, **more}, count))
    hashes = [hashlib.sha256(f"{first + at}".encode()).hexdigest() for at in number.tolist()]
    measured = {
        "outcome": [None] * count,
        "attempt": np.zeros(count, np.int16),
        "num_samples": np.full(count, 480_000),
        "sample_rate_hz": np.full(count, 48_000, np.int32),
        "sha256": hashes,
        "pcm_sha256": hashes,
        "clipping_ratio": np.zeros(count, np.float32),
        "bandwidth_hz": np.full(count, 20_000, np.int32),
        "fingerprint": [_fingerprint(first + at, of, seed) for at in number.tolist()],
    }
    rows = pa.table(
        [*plan.columns, *_table(pa.schema([*OUTCOME, *AUDIO, *FINGERPRINT]), measured, count).columns],
        schema=pa.schema([*PLAN, *OUTCOME, *AUDIO, *FINGERPRINT]),
    )
    meta = units.UnitMeta("fetch", "bench", plan_store.part_sha256(store, part))
    for at in range(0, count, UNIT_CLIPS):
        units.commit_root(store, plan.slice(at, UNIT_CLIPS), rows.slice(at, UNIT_CLIPS), meta)


def _table(schema: pa.Schema, given: dict[str, object], rows: int) -> pa.Table:
    columns = [pa.array(given[f.name], f.type) if f.name in given else pa.nulls(rows, f.type) for f in schema]
    return pa.table(columns, schema=schema)


# -- measuring


class Processes:
    """Memory and CPU seconds of this process and all below it, looked at every 0.2 s. Shared pages count once."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._cpu_s: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Processes:
        self._before_s = sum(self._look().values())
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()
        self.cpu_s = sum(self._cpu_s.values()) - self._before_s

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            self._look()

    def _look(self) -> dict[str, float]:
        total = 0
        for pid in _descendants(os.getpid()):
            try:
                stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except (OSError, IndexError):
                continue
            self._cpu_s[f"{pid}"] = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
            total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
        self.peak_bytes = max(self.peak_bytes, total)
        return dict(self._cpu_s)


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def measure(clips: int, key_values: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(str(Path(folder) / "run"))
        planted = make(store, clips, key_values=key_values)
        started = time.perf_counter()
        with Processes() as processes:
            for event in run_leg(store, recipe(store.root), "dedup"):
                assert not isinstance(event, UnitDone) or event.error is None, event
                assert not isinstance(event, LegEnd) or event.undone == 0
        wall_s = time.perf_counter() - started
        stop_ray()
        columns = ["clip_id", "dup_group", "dup_keep"]
        found = pa.Table.from_batches(list(scan(store, ["fetch", "dedup"], columns)))
    dropped = {
        int(row["clip_id"][1:10]): int(row["dup_group"][1:10])
        for row in found.filter(pa.compute.invert(found.column("dup_keep"))).to_pylist()
    }
    pairs = {frozenset(pair) for pair in planted.tolist()}
    right = sum(frozenset(pair) in pairs for pair in dropped.items())
    memory_gb = processes.peak_bytes / 1e9
    return (
        f"| {clips:,} | {wall_s:.0f} | {processes.cpu_s:.0f} | {memory_gb:.2f} | {right / len(pairs):.2%} "
        f"of {len(pairs):,} | {len(dropped) - right} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--key-values", type=int, default=KEY_VALUES, help="How many values keys take.")
    options = parser.parse_args()
    print(f"{os.cpu_count()} CPUs\n")
    print("| clips | wall s | CPU s | peak memory GB | planted copies found | dropped wrongly |")
    print("|---|---|---|---|---|---|")
    for clips in options.clips:
        print(measure(clips, options.key_values), flush=True)


if __name__ == "__main__":
    main()
