"""What deploy/ hands to Kubernetes, Ray's cluster launcher, Slurm and Docker: checked as far as goes without them."""

import json
import os
import re
import signal
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from pipeline.config import load_recipe

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERAY = {path.name: list(yaml.safe_load_all(path.read_text())) for path in (DEPLOY / "kuberay").glob("*.yaml")}

#: Field names as KubeRay documents them (its API reference, ray.io/v1) and as Kubernetes' core/v1 has them.
RAY_JOB = {
    *("activeDeadlineSeconds backoffLimit rayClusterSpec submitterPodTemplate metadata clusterSelector".split()),
    *("submitterConfig managedBy deletionStrategy entrypoint runtimeEnvYAML jobId submissionMode".split()),
    *("entrypointResources entrypointNumCpus entrypointNumGpus ttlSecondsAfterFinished".split()),
    *("shutdownAfterJobFinishes suspend".split()),
}
RAY_CLUSTER = {
    *("suspend managedBy autoscalerOptions headServiceAnnotations enableInTreeAutoscaling".split()),
    *("gcsFaultToleranceOptions headGroupSpec rayVersion workerGroupSpecs authOptions".split()),
}
HEAD_GROUP = {"template", "headService", "enableIngress", "rayStartParams", "serviceType", "resources", "labels"}
WORKER_GROUP = {
    *("suspend groupName replicas minReplicas maxReplicas idleTimeoutSeconds rayStartParams template".split()),
    *("scaleStrategy numOfHosts resources labels".split()),
}
POD = {"containers", "initContainers", "volumes", "tolerations", "nodeSelector", "securityContext", "affinity"}
CONTAINER = {"name", "image", "ports", "env", "envFrom", "resources", "volumeMounts", "securityContext"}
#: Options of `ray start` that the files use; the keys of rayStartParams are such.
RAY_START = {"num-cpus", "metrics-export-port", "dashboard-host", "resources", "object-store-memory"}


def specs(kind):
    for name, documents in KUBERAY.items():
        for document in documents:
            if document["kind"] == kind:
                yield name, document["spec"]


def clusters():
    """(file, RayCluster spec), whether it stands by itself or in a job."""
    yield from specs("RayCluster")
    for name, spec in specs("RayJob"):
        if "rayClusterSpec" in spec:
            yield name, spec["rayClusterSpec"]


def test_kuberay_files_have_the_fields_that_kuberay_knows():
    assert {name for name, _ in clusters()} == {"rayjob.yaml", "raycluster.yaml"}
    for document in (document for documents in KUBERAY.values() for document in documents):
        assert set(document) == {"apiVersion", "kind", "metadata", "spec"}
        versions = {"RayJob": "ray.io/v1", "RayCluster": "ray.io/v1", "PodMonitor": "monitoring.coreos.com/v1"}
        assert document["apiVersion"] == versions[document["kind"]]
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", document["metadata"]["name"])
    for _, job in specs("RayJob"):
        assert set(job) <= RAY_JOB
        assert ("clusterSelector" in job) != ("rayClusterSpec" in job)
        if "clusterSelector" in job:  # KubeRay refuses these with a selector: there is no cluster to make anew
            assert not {"backoffLimit", "suspend", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished"} & set(job)
    for _, cluster in clusters():
        assert set(cluster) <= RAY_CLUSTER
        groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        for group, known in zip(groups, [HEAD_GROUP, WORKER_GROUP, WORKER_GROUP], strict=True):
            assert set(group) <= known
            assert set(group["rayStartParams"]) <= RAY_START
            assert all(isinstance(value, str) for value in group["rayStartParams"].values())
            pod = group["template"]["spec"]
            assert set(pod) <= POD
            (container,) = pod["containers"]
            assert set(container) <= CONTAINER
            assert container["resources"]["limits"] == container["resources"]["requests"]
            assert {mount["name"] for mount in container["volumeMounts"]} == {
                volume["name"] for volume in pod["volumes"]
            }
            assert {"containerPort": 8080, "name": "metrics"} in container["ports"]


def test_what_prometheus_asks_is_what_the_pods_have():
    ((_, monitor),) = specs("PodMonitor")
    assert [endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]] == ["metrics"]
    for _, cluster in clusters():
        assert {
            group["rayStartParams"]["metrics-export-port"]
            for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        } == {"8080"}


def merged(tmp_path):
    """The recipe of the paper with the `execution` of a cluster, written to a file."""
    tree = yaml.safe_load((ROOT / "configs" / "autorecap_xl.yaml").read_text())
    tree["execution"] = yaml.safe_load((DEPLOY / "recipe.yaml").read_text())["execution"]
    path = tmp_path / "night.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def test_the_recipes_execution_loads_and_asks_for_marks_that_each_kind_of_cluster_has(tmp_path):
    execution = load_recipe(merged(tmp_path)).execution
    asked = {mark: amount for leg in execution.task_resources.values() for mark, amount in leg.items()}
    assert set(asked) == {"fetch", "models"}
    pool = execution.pools["models"]
    for _, cluster in clusters():
        marks = {}
        for group in cluster["workerGroupSpecs"]:
            quoted = group["rayStartParams"]["resources"]  # KubeRay puts it into a shell command as it stands
            assert quoted[0] == quoted[-1] == '"'
            marks[group["groupName"]] = json.loads(quoted[1:-1].replace('\\"', '"'))
        assert marks == {"fetch": {"fetch": 1000}, "models": {"models": 1000}}
        (gpus,) = [group for group in cluster["workerGroupSpecs"] if group["groupName"] == "models"]
        limits = gpus["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert gpus["replicas"] * int(limits["nvidia.com/gpu"]) == pool.workers * pool.gpus_per_worker
        assert int(limits["cpu"]) >= pool.cpus_per_worker + execution.cpus_per_task  # a pool and its readers fit
    types = yaml.safe_load((DEPLOY / "ray" / "aws.yaml").read_text())["available_node_types"]
    assert types["fetch"]["resources"]["fetch"] == types["models"]["resources"]["models"] == 1000
    assert types["head"]["resources"]["CPU"] == 0
    script = (DEPLOY / "slurm" / "autorecap.sbatch").read_text()
    assert re.findall(r"^workers \d (\w+)", script, flags=re.M) == ["fetch", "models"]


def test_the_launchers_file_is_one_by_rays_own_schema():
    import jsonschema  # Ray's own: its launcher checks with it
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    config = yaml.safe_load((DEPLOY / "ray" / "aws.yaml").read_text())
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError, match="nodes_of_mine"):
        jsonschema.validate(config | {"nodes_of_mine": 3}, schema)


@pytest.mark.parametrize("script", ["both_legs.sh", "slurm/autorecap.sbatch"])
def test_scripts_are_bash(script):
    subprocess.run(["bash", "-n", DEPLOY / script], check=True)


def test_slurm_is_told_before_any_command_and_stops_before_its_time_is_over():
    lines = (DEPLOY / "slurm" / "autorecap.sbatch").read_text().splitlines()
    first = next(at for at, line in enumerate(lines) if line and not line.startswith("#"))
    told = [line for line in lines[:first] if line.startswith("#SBATCH")]
    assert told == [line for line in lines if line.startswith("#SBATCH")]
    assert "#SBATCH --signal=B:USR1@120" in told
    assert "#SBATCH hetjob" in told
    assert any(line.startswith("trap again USR1") for line in lines)


@pytest.fixture
def legs(tmp_path):
    """both_legs.sh with an `autorecap` that notes its calls: fetch ends with $FETCH, models waits for a file."""
    fake = tmp_path / "bin" / "autorecap"
    fake.parent.mkdir()
    fake.write_text(
        "#!/bin/bash\n"
        f'echo "$*" >> {tmp_path}/calls\n'
        'if [ "$4" = fetch ]; then sleep "${FETCH_S:-0}"; exit "${FETCH:-0}"; fi\n'
        f"trap 'echo stopped >> {tmp_path}/calls; exit 143' TERM\n"
        f"until [ -e {tmp_path}/all_captioned ]; do sleep 0.05; done\n"
    )
    fake.chmod(0o755)

    def start(**variables):
        path = f"{fake.parent}:{os.environ['PATH']}"
        return subprocess.Popen([DEPLOY / "both_legs.sh", "night.yaml"], env={**os.environ, "PATH": path, **variables})

    return tmp_path, start


def test_both_legs_end_when_both_are_done(legs):
    folder, start = legs
    (folder / "all_captioned").touch()
    assert start().wait(timeout=20) == 0
    called = sorted((folder / "calls").read_text().splitlines())
    assert called == ["run night.yaml --leg fetch", "run night.yaml --leg models --follow"]


def test_models_is_stopped_when_fetch_has_not_done_all(legs):
    folder, start = legs
    assert start(FETCH="1", FETCH_S="0.5").wait(timeout=20) == 1
    assert (folder / "calls").read_text().splitlines()[-1] == "stopped"


def test_a_signal_reaches_both_drivers(legs):
    folder, start = legs
    both = start(FETCH_S="2")
    while not (folder / "calls").exists() or len((folder / "calls").read_text().splitlines()) < 2:
        time.sleep(0.05)
    both.send_signal(signal.SIGTERM)
    assert both.wait(timeout=20) != 0
    assert "stopped" in (folder / "calls").read_text()


def test_the_image_is_made_of_what_there_is():
    text = (DEPLOY / "Dockerfile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = [word for line in re.findall(r"^COPY (.*)$", text, flags=re.M) for word in line.split()[:-1]]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= set(copied)
    (extras,) = re.findall(r'-e "\.\[(.*?)\]"', text)
    assert set(extras.split(",")) <= set(project["project"]["optional-dependencies"])
