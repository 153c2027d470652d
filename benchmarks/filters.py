"""What the filters cost on one core: milliseconds a 10 s clip for those that listen, captions a second for the words.

python -m benchmarks.filters
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from audio.codec import encode
from stages.base import Services
from stages.hear_speech import HearSpeech
from stages.keywords import Keywords
from stages.measure import Measure

CAPTIONS = Path(__file__).parent.parent / "tests" / "data" / "captions.yaml"
ROWS = 40_000
CLIPS = 40
RATE_HZ = 48_000
CLIP_S = 10


def captions(distinct: int) -> pa.Table:
    """`ROWS` captions in the manner of the written ones, `distinct` different ones among them."""
    written = [text for texts in yaml.safe_load(CAPTIONS.read_text(encoding="utf-8")).values() for text in texts]
    texts = [f"{written[at % len(written)]} {at // len(written)} times" for at in range(distinct)]
    return pa.table({"caption": [texts[at % distinct] for at in range(ROWS)]})


def clips() -> pa.Table:
    """`CLIPS` clips of noise under a slow envelope, as the corpus holds them."""
    chance = np.random.default_rng(0)
    envelope = 0.1 * (1 + np.sin(np.arange(CLIP_S * RATE_HZ) / RATE_HZ))
    audio = [
        encode((envelope * chance.standard_normal(envelope.size)).astype(np.float32), RATE_HZ, "flac")
        for _ in range(CLIPS)
    ]
    spans = {"start_ms": [0] * CLIPS, "end_ms": [CLIP_S * 1000] * CLIPS}
    return pa.table({"audio": pa.array(audio, pa.large_binary()), **spans})


def seconds(stage: Any, table: pa.Table) -> tuple[float, pa.Table]:
    """Processor time of one run of an opened stage, and what it returned."""
    stage.open(Services(run_root=".", cache_dir=Path()))
    stage.run(table.slice(0, 4))
    started = time.process_time()
    out = stage.run(table)
    return time.process_time() - started, out


def main() -> None:
    table = clips()
    for stage in (Measure(), HearSpeech()):
        taken, _ = seconds(stage, table)
        print(f"{type(stage).__name__:<12} {1000 * taken / CLIPS:6.1f} ms a clip of {CLIP_S} s")
    print(f"\n{'distinct captions':>18} {'clips/s':>9} {'dropped':>8}")
    for distinct in (ROWS, ROWS // 10):
        taken, out = seconds(Keywords(), captions(distinct))
        dropped = 1 - out.column("outcome").null_count / ROWS
        print(f"{distinct:>18,} {ROWS / taken:>9,.0f} {dropped:>8.0%}")


if __name__ == "__main__":
    main()
