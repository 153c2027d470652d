#!/usr/bin/env python3
"""How fast the embedded models are on one core: clips of 10 s per second, by the stages that use them.

usage: python benchmarks/models.py [CLIPS]

Clips are synthetic 48 kHz FLAC, as a corpus holds them: decoding and resampling are part of the time.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from audio.codec import encode
from stages.base import Services, Stage
from stages.caption import Caption
from stages.embed import Embed
from stages.score import Score


def make_clips(count: int) -> pa.Table:
    draw = np.random.default_rng(0)
    time_s = np.arange(480_000) / 48_000
    audios = []
    for _ in range(count):
        swell = 0.5 + 0.5 * np.sin(2 * np.pi * draw.uniform(0.3, 8) * time_s)
        wave = 0.3 * swell * np.sin(2 * np.pi * draw.uniform(80, 3000) * time_s) + draw.normal(0, 0.02, time_s.size)
        audios.append(encode(wave.astype(np.float32), 48_000, "flac"))
    return pa.table(
        {
            "clip_id": [f"c{k}" for k in range(count)],
            "audio": pa.array(audios, type=pa.large_binary()),
            "title": pa.array(["my holiday by the sea" if k % 2 else None for k in range(count)], type=pa.string()),
            "video_caption": pa.nulls(count, pa.string()),
        }
    )


def run(stage: Stage, clips: pa.Table) -> tuple[pa.Table, float]:
    """The stage's result and its seconds, models loaded and warm."""
    stage.open(Services(run_root="", cache_dir=Path(), threads=1))
    stage.run(clips.slice(0, 2))
    begun = time.perf_counter()
    return stage.run(clips), time.perf_counter() - begun


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    clips = make_clips(count)
    embedded, embed_s = run(Embed(), clips)
    captioned, beams_s = run(Caption(beams=2), embedded)
    _, greedy_s = run(Caption(beams=1), embedded)
    _, score_s = run(Score(), captioned)
    print(f"{count} clips of 10 s, 48 kHz FLAC, one thread\n")
    print("| stage | ms a clip | clips/s |\n|---|---|---|")
    rows = {
        "embed": embed_s,
        "score": score_s,
        "embed + score": embed_s + score_s,
        "caption, beams=2": beams_s,
        "caption, beams=1": greedy_s,
        "embed + caption + score": embed_s + beams_s + score_s,
    }
    for name, seconds in rows.items():
        print(f"| {name} | {1000 * seconds / count:.1f} | {count / seconds:.1f} |")


if __name__ == "__main__":
    main()
