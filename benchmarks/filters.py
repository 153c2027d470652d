"""The keyword filter: captions a second on one core.

python -m benchmarks.filters
"""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa
import yaml

from stages.base import Services
from stages.keywords import Keywords

CAPTIONS = Path(__file__).parent.parent / "tests" / "data" / "captions.yaml"
ROWS = 40_000


def clips(distinct: int) -> pa.Table:
    """`ROWS` captions in the manner of the written ones, `distinct` different ones among them."""
    written = [
        caption for captions in yaml.safe_load(CAPTIONS.read_text(encoding="utf-8")).values() for caption in captions
    ]
    texts = [f"{written[at % len(written)]} {at // len(written)} times" for at in range(distinct)]
    return pa.table({"caption": [texts[at % distinct] for at in range(ROWS)]})


def main() -> None:
    print(f"{'distinct captions':>18} {'clips/s':>9} {'dropped':>8}")
    for distinct in (ROWS, ROWS // 10):
        table = clips(distinct)
        stage = Keywords()
        stage.open(Services(run_root=".", cache_dir=Path()))
        started = time.process_time()
        out = stage.run(table)
        rate = ROWS / (time.process_time() - started)
        dropped = out.column("outcome").length() - out.column("outcome").null_count
        print(f"{distinct:>18,} {rate:>9,.0f} {dropped / ROWS:>8.0%}")


if __name__ == "__main__":
    main()
