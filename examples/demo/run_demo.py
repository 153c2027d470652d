"""`make demo`: the main job, whole, on one machine without the internet.

Starts the demo's media server on loopback, then types the same commands a user would: plan, run, select, export,
verify, status, search, report. Run it again and every step finds its work done.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

from examples.demo.server import DemoSite

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/demo.yaml"
RUN = "runs/demo"
VIEW = "AutoReCapXL"
PORT = 8765  # examples/demo/sources.txt names it

STEPS = (
    ("plan", CONFIG),
    ("run", CONFIG),
    ("select", RUN, "--preset", VIEW),
    ("export", RUN, "--view", VIEW, "--out", f"{RUN}/shards", "--shard-clips", "16", "--split", "80/10/10"),
    ("verify", RUN, "--decode"),
    ("verify", f"{RUN}/shards"),
    ("status", RUN),
    ("search", RUN, "a telephone rings", "--top", "3"),
    ("report", RUN, "--out", f"{RUN}/report.html"),
)


def main() -> int:
    started = time.monotonic()
    try:
        site = DemoSite(port=PORT)
    except OSError as error:
        print(f"the demo's media server needs port {PORT} on 127.0.0.1: {error.strerror}", file=sys.stderr)
        return 2
    with site:
        for step in STEPS:
            print(f"\n$ autorecap {shlex.join(step)}", flush=True)
            code = subprocess.run([sys.executable, "-m", "pipeline.cli", *step], cwd=ROOT).returncode
            if code != 0:
                print(f"the demo stopped: autorecap {step[0]} ended with {code}", file=sys.stderr)
                return code
    print(f"\nThe job took {time.monotonic() - started:.0f} s. The corpus is in {RUN}, its shards in {RUN}/shards.")
    print(f"Next: open {RUN}/report.html and listen, try another threshold, or run it again (nothing is done twice):")
    print(f"  .venv/bin/autorecap select {RUN} --name loud --where 'rms_dbfs > -25 and speech_ratio < 0.1'")
    return 0


if __name__ == "__main__":
    sys.exit(main())
