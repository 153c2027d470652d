"""Two real drivers that both take a run for theirs: what they leave is what one would have left."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.synthetic import write_plan
from corpus.verify import verify_corpus
from pipeline.config import Recipe
from pipeline.runfolder import start_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
HERE = "tests.pipeline.trial_stages"

#: Takes no notice of others: as a driver does whose network was cut in two.
BLIND = """
import sys
from pipeline.config import load_recipe
from pipeline.run import run_leg
from pipeline.runfolder import open_store
print("ready", flush=True)
sys.stdin.readline()
for config in sys.argv[1:]:
    recipe = load_recipe(config)
    for leg in ("fetch", "models"):
        end = list(run_leg(open_store(recipe.run), recipe, leg))[-1]
        print(end.committed, end.undone, flush=True)
"""


def planned(tmp_path, name):
    recipe = {
        "name": "two",
        "run": str(tmp_path / name),
        "legs": {
            "fetch": {"stages": [{"use": f"{HERE}:Trial", "sleep_s": 0.1}]},
            "models": {"after": "fetch", "stages": [{"use": f"{HERE}:Caption", "sleep_s": 0.05}]},
        },
        "execution": {"cpus": 1},
    }
    config = tmp_path / f"{name}.yaml"
    config.write_text(yaml.safe_dump(recipe))
    store = start_run(Recipe.model_validate(recipe))
    write_plan(store, 16, 4)
    return config, store


def digests(store):
    return {path: hashlib.sha256(store.read(path)).hexdigest() for path in store.list("corpus")}


def test_two_drivers_at_once_leave_the_corpus_of_one(tmp_path):
    config, both = planned(tmp_path, "both")
    alone, one = planned(tmp_path, "one")
    command = [sys.executable, "-c", BLIND]
    drivers = [
        subprocess.Popen([*command, *of], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for of in ([config], [config, alone])
    ]
    for driver in drivers:
        assert driver.stdout.readline() == "ready\n"
    for driver in drivers:
        driver.stdin.write("go\n")
        driver.stdin.flush()
    said = [driver.communicate(timeout=240)[0].split() for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], said
    assert [undone for answer in said for undone in answer[1::2]] == ["0"] * 6
    assert digests(both) == digests(one)
    report = verify_corpus(both, ["fetch", "models"], sweep=True)
    assert report.ok, report.lines()
    assert json.loads(both.read("run.json"))["name"] == "two"
