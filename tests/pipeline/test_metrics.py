"""What Prometheus would read while a leg runs, from Ray's own agent on this machine."""

import logging
import re
import socket
import time
import urllib.request
from pathlib import Path

import pytest

from benchmarks.synthetic import write_plan
from corpus.store import Store
from pipeline.config import Recipe
from pipeline.governor_actor import ClusterGovernor
from pipeline.metrics import METRICS, RayMetrics, run_name
from pipeline.run import run_leg
from stages.gate import Rules

HERE = "tests.pipeline.trial_stages"
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.fixture(scope="module")
def port():
    """A local Ray that answers Prometheus there, with figures that are a second old instead of ten."""
    pytest.importorskip("opencensus", reason="Ray's agent exports with ray[default] only: pip install -e '.[dev]'")
    from pipeline.engine import ensure_ray, stop_ray

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_metrics_report_interval_ms", "1000")
        ensure_ray(num_cpus=2, metrics_port=port)
        yield port
        stop_ray()


def scrape(port, until):
    """Series as {(name, frozenset of our labels): value}, once the pattern `until` is among them."""
    ours = {"run", "leg", "stage", "outcome", "reason", "pool", "state", "result", "site", "le"}
    give_up = time.monotonic() + 60
    while True:
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
        if re.search(until, page):
            break
        assert time.monotonic() < give_up, page[:4000]
        time.sleep(0.5)
    series = {}
    for name, labels, value in re.findall(r"^(ray_autorecap_\w+)\{(.*)\} (\S+)$", page, flags=re.M):
        told = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))
        series[name, frozenset((key, text) for key, text in told.items() if key in ours)] = float(value)
    return series


def labelled(series, name, **labels):
    """The values of a metric whose labels hold these, added up."""
    return sum(
        value
        for (found, told), value in series.items()
        if found == f"ray_{name}" and labels.items() <= dict(told).items()
    )


def test_a_leg_is_seen_by_prometheus_with_the_values_of_its_run(port, tmp_path):
    store = Store(str(tmp_path / "seen"))
    write_plan(store, 5, 4)
    asked = Recipe.model_validate(
        {
            "name": "seen",
            "run": store.root,
            "legs": {
                "fetch": {
                    "stages": [
                        {"use": f"{HERE}:Trial"},
                        {"use": f"{HERE}:RaisesAt", "unit": "00000-00002", "model": True},
                    ]
                }
            },
        }
    )
    before = time.time()
    governor, rules = ClusterGovernor(), Rules(sessions=(("guest", 100.0),), backoff_s=600)
    for kind in ("ok", "ok", "http_429"):
        governor.report(rules, governor.ask(rules, "example.org"), kind)
    assert list(run_leg(store, asked, "fetch"))[-1].committed == 4
    # The governor tells by its own clock; the last thing that the driver tells is that the leg has ended.
    sites = scrape(port, r'site_sessions\{[^}]*state="cooling down"[^}]*\} 1\.0')
    series = scrape(port, r'leg_running\{[^}]*run="seen"[^}]*\} 0\.0')

    def value(name, run="seen", **labels):
        return labelled(series, name, run=run, **labels)

    assert (value("autorecap_units_total", result="committed"), value("autorecap_units_total", result="failed")) == (
        4,
        1,
    )
    assert (value("autorecap_units", state="planned"), value("autorecap_units", state="done")) == (5, 4)
    assert value("autorecap_units", state="in_flight") == 0
    assert (value("autorecap_clips_total", outcome="ok"), value("autorecap_clips_total", reason="third")) == (12, 4)
    assert value("autorecap_audio_seconds_total") == 120
    trial = f"{HERE}:Trial"
    assert value("autorecap_stage_clips_total", stage=trial, outcome="passed") == 12
    assert value("autorecap_stage_clips_total", stage=trial, outcome="filtered", reason="third") == 4
    assert value("autorecap_stage_audio_seconds_total", stage=trial, outcome="passed") == 120
    assert value("autorecap_stage_audio_seconds_total", stage=trial, reason="third") == 40
    assert value("autorecap_stage_unit_seconds_count", stage=trial) == 4
    assert value("autorecap_stage_busy_seconds_total", pool="models") > 0
    assert value("autorecap_commit_seconds_count") == 4
    kept = [path for path in store.list("corpus") if path.startswith(("corpus/units/", "corpus/audio/"))]
    assert value("autorecap_committed_bytes_total") == sum(store.size(path) for path in kept)
    assert value("autorecap_last_commit_timestamp_seconds") >= before
    assert value("autorecap_leg_running") == value("autorecap_pool_workers") == 0
    assert value("autorecap_requests_total", run="cluster", site="example.org", outcome="ok") == 2
    assert value("autorecap_requests_total", run="cluster", site="example.org", outcome="http_429") == 1
    assert labelled(sites, "autorecap_site_sessions", run="cluster", site="example.org", state="cooling down") == 1


def test_labels_are_bounded_and_what_is_unknown_is_said_once(port, caplog):
    metrics = RayMetrics("bounded")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            metrics.count("autorecap_clips_of_mine_total", leg="fetch")
        metrics.count("autorecap_fetched_bytes_total", 1, host="example.org")
    assert [record.getMessage().split(" with")[0] for record in caplog.records] == [
        "no counter autorecap_clips_of_mine_total",
        "no counter autorecap_fetched_bytes_total",
    ]
    metrics = RayMetrics("bounded")
    for at in range(1000):
        metrics.count("autorecap_fetched_bytes_total", 2, site=f"{at}.example")
    series = scrape(port, r'autorecap_fetched_bytes_total\{[^}]*run="bounded"')
    told = [dict(labels) for name, labels in series if name == "ray_autorecap_fetched_bytes_total"]
    assert len(told) == 65
    assert labelled(series, "autorecap_fetched_bytes_total", site="other") == 2 * (1000 - 64)


def test_without_ray_figures_are_forgotten():
    RayMetrics(run_name("s3://bucket/runs/night/")).count("autorecap_fetched_bytes_total", 1, site="example.org")
    assert run_name("s3://bucket/runs/night/") == "night"


def test_the_docs_list_every_metric_with_its_kind_and_labels():
    rows = re.findall(r"^\| `(autorecap_\w+)` \| (\w+) \| (.*?) \| (\w+) \|", DOCS.read_text(), flags=re.M)
    listed = {name: (kind, tuple(re.findall(r"`(\w+)`", labels)), teller) for name, kind, labels, teller in rows}
    assert listed == {metric.name: (metric.kind, metric.labels, metric.told_by) for metric in METRICS}
