"""Search over many clips: seconds and memory of one pass over stored embeddings (random ones).

    python -m benchmarks.search --clips 1000000 --dim 512

Writes one compacted file below a temporary folder (2 GB for the numbers above), then searches it as the verb does.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.compact import ROW_GROUP_ROWS
from corpus.compacted import compacted_folder
from corpus.store import Store
from pipeline.search import Clips
from pipeline.top import Top

MODEL = "random@0123456789ab"


def write(store: Store, clips: int, dim: int) -> None:
    """Unit vectors in row groups as compaction cuts them."""
    folder = Path(store.root) / compacted_folder("models")
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    writer = None
    for first in range(0, clips, ROW_GROUP_ROWS):
        numbers = range(first, min(first + ROW_GROUP_ROWS, clips))
        vectors = rng.standard_normal((len(numbers), dim), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        offsets = pa.array(np.arange(0, vectors.size + 1, dim, dtype=np.int32))
        rows = pa.table(
            {
                "clip_id": [f"x{number:020x}_0_10000" for number in numbers],
                "unit_id": [f"00000-{number // 128:05d}" for number in numbers],
                "outcome": ["ok"] * len(numbers),
                "clap_model": [MODEL] * len(numbers),
                "clap_audio_embedding": pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel())),
            }
        )
        file = folder / f"00000-00000_00000-{(clips - 1) // 128:05d}_{clips}_0123456789ab.parquet"
        writer = writer or pq.ParquetWriter(file, rows.schema, compression="zstd")
        writer.write_table(rows)
    assert writer is not None
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=512)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        # In a process of its own: what writing needs is not what is measured.
        writing = multiprocessing.get_context("spawn").Process(target=write, args=(store, args.clips, args.dim))
        writing.start()
        writing.join()
        query = np.random.default_rng(1).standard_normal(args.dim).astype(np.float32)
        started, searched, best = time.perf_counter(), 0, Top(20)
        for rows, vectors in Clips(store, ["models"], "models", None, False).of_model(MODEL, args.dim):
            best.add(vectors @ query, rows)
            searched += rows.num_rows
        seconds = time.perf_counter() - started
    most_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{searched} clips of {args.dim} numbers: {seconds:.1f} s, {searched / seconds:.0f} clips/s")
    print(f"most memory: {most_kb / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
