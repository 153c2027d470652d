"""A run on a cluster of several nodes (all on this machine): who works where, and what a node's end does to a run."""

import hashlib
import sys
import textwrap
from collections import defaultdict

import pytest

from benchmarks.synthetic import write_plan
from corpus import units
from corpus.store import Store
from corpus.verify import verify_corpus
from pipeline.config import Recipe
from pipeline.events import LegEnd, UnitDone
from pipeline.run import run_leg

pytestmark = pytest.mark.slow

UNITS, CLIPS = 24, 4

#: A user's own module, in a folder that only the driver knows: it must travel to the nodes.
OWN_STAGES = """
    import time
    from dataclasses import dataclass
    from pathlib import Path
    from typing import ClassVar

    import ray

    from corpus.schema import fields
    from stages.base import Ending, Needs, with_columns, with_endings

    @dataclass(kw_only=True)
    class Fetch:
        reads: ClassVar = ("row",)
        adds: ClassVar = fields("audio", "codec")

        def needs(self):
            return Needs(model=hasattr(self, "model"))

        def open(self, services):
            node = ray.get_runtime_context().get_node_id()
            notes = Path(services.run_root + "-notes")
            self.sleep_s = 0.2 if (notes / "slow").exists() else 0.0
            self.where = notes / type(self).__name__ / node
            self.where.mkdir(parents=True, exist_ok=True)

        def run(self, clips):
            time.sleep(self.sleep_s)
            with (self.where / clips.column("unit_id")[0].as_py()).open("a") as times:
                times.write(".")
            return self.work(clips)

        def work(self, clips):
            ids = clips.column("clip_id").to_pylist()
            clips = with_columns(clips, {"audio": [i.encode() for i in ids], "codec": ["flac"] * len(ids)}, self.adds)
            rows = clips.column("row").to_pylist()
            return with_endings(clips, [Ending("filtered", "third") if row % 3 == 2 else None for row in rows])

        def close(self):
            ...

    @dataclass(kw_only=True)
    class Caption(Fetch):
        adds: ClassVar = fields("caption")
        model = True

        def work(self, clips):
            return with_columns(clips, {"caption": ["of " + i for i in clips.column("clip_id").to_pylist()]}, self.adds)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head that works nothing; nodes come and go."""
    from ray.cluster_utils import Cluster

    from pipeline.engine import stop_ray

    folder = tmp_path_factory.mktemp("own")
    (folder / "own_cluster_stages.py").write_text(textwrap.dedent(OWN_STAGES))
    sys.path.insert(0, str(folder))
    # A node that is killed is missed after a second and a half, not after Ray's fifteen.
    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": quick})
    yield cluster
    stop_ray()
    cluster.shutdown()
    sys.path.remove(str(folder))


def recipe(run, cluster):
    return Recipe.model_validate(
        {
            "name": "cluster",
            "run": str(run),
            "legs": {
                "fetch": {"stages": [{"use": "own_cluster_stages:Fetch"}]},
                "models": {"after": "fetch", "stages": [{"use": "own_cluster_stages:Caption"}]},
            },
            "execution": {
                "ray_address": cluster.address,
                "task_resources": {"fetch": {"fetch": 1}, "models": {"models": 0.001}},
                "pools": {"models": {"gpus_per_worker": 0, "resources": {"models": 1}}},
            },
        }
    )


def planned(folder):
    store = Store(str(folder))
    write_plan(store, UNITS, CLIPS)
    return store


def corpus_bytes(store):
    return {path: hashlib.sha256(store.read(path)).hexdigest() for path in store.list("corpus")}


def workplaces(notes, stage):
    """Node -> {unit: times worked}."""
    found = defaultdict(dict)
    for file in (notes / stage).glob("*/*"):
        found[file.parent.name][file.name] = file.stat().st_size
    return dict(found)


def test_a_node_that_goes_and_one_that_comes_change_no_byte(cluster, tmp_path):
    alone = cluster.add_node(num_cpus=2, resources={"fetch": 2, "models": 100})
    single = planned(tmp_path / "single")
    for leg in ("fetch", "models"):
        assert list(run_leg(single, recipe(single.root, cluster), leg))[-1].undone == 0
    first = cluster.add_node(num_cpus=2, resources={"fetch": 2})
    models = cluster.add_node(num_cpus=1, resources={"models": 100})
    cluster.remove_node(alone)

    store, notes = planned(tmp_path / "run"), tmp_path / "run-notes"
    notes.mkdir()
    (notes / "slow").touch()
    asked = recipe(store.root, cluster)
    done = []
    for event in run_leg(store, asked, "fetch"):
        if isinstance(event, UnitDone):
            done.append(event.unit_id)
            if len(done) == 6:
                cluster.remove_node(first, allow_graceful=False)
                second = cluster.add_node(num_cpus=2, resources={"fetch": 2})
    assert isinstance(event, LegEnd)
    assert (event.committed, event.undone) == (UNITS, 0)
    assert sorted(done) == sorted(units.done_units(store, "fetch", root=True))
    fetched = workplaces(notes, "Fetch")
    assert set(fetched) == {first.node_id, second.node_id}
    assert len(fetched[first.node_id]) >= 6
    again = sum(sum(times.values()) for times in fetched.values()) - UNITS
    assert 0 <= again <= 4  # only what was in flight on the node that went

    assert list(run_leg(store, asked, "models"))[-1].undone == 0
    assert set(workplaces(notes, "Caption")) == {models.node_id}
    assert verify_corpus(store, ["fetch", "models"]).ok
    assert corpus_bytes(store) == corpus_bytes(single)
