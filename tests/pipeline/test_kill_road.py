"""The long kill run of benchmarks/kill_road.py at a length that CI can wait for: driver, worker and node."""

import random

import pytest

from benchmarks.kill_road import Trial

pytestmark = pytest.mark.slow


def test_a_run_whose_driver_workers_and_node_are_killed_ends_byte_identical(tmp_path):
    """Some 100 clips in 18 units, two legs, on three Ray nodes; each kill after a new commit."""
    said = []
    trial = Trial(tmp_path / "trial", sources=16, unit_clips=6, pause_s=0.05)
    kinds = ["worker", "driver", "node"]
    assert trial.work(kinds, random.Random(0), say=said.append), "\n".join(said)
    assert trial.tally.kills.total() == len(kinds)
