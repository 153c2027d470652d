"""Dashboard, alerts and scrape configuration ask for metrics that there are, with labels that they have."""

import itertools
import json
import re
from pathlib import Path

import pytest
import yaml

from pipeline.metrics import BY_NAME

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "autorecap.json").read_text())
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

#: Ray's own series that the dashboard shows beside ours, with the labels it reads.
OF_RAY = {"ray_node_gpus_utilization", "ray_node_cpu_utilization"}
QUERIES = {
    **{f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]},
    **{rule["alert"]: rule["expr"] for rule in ALERTS},
}


def series(query):
    """(metric, labels selected, the function right around it) of each series that a query names."""
    for match in re.finditer(r"(\w+\()?(ray_\w+)(?:\{(.*?)\})?(\[)?", query):
        function, name, selector, ranged = match.groups()
        yield name, re.findall(r'(\w+)(?:=~|!=|!~|=)"', selector or ""), (function or "").rstrip("("), bool(ranged)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_query_names_metrics_and_labels_that_there_are_and_reads_each_kind_as_it_must_be(query):
    assert query.count("(") == query.count(")")
    found = list(series(query))
    assert found
    grouped = set(itertools.chain(*(re.findall(r"\w+", text) for text in re.findall(r"\b(?:by|on) \((.*?)\)", query))))
    known = {"instance", "GpuIndex", "le"}
    for name, selected, function, ranged in found:
        if name in OF_RAY:
            continue
        metric = BY_NAME[re.sub(r"_bucket$", "", name.removeprefix("ray_"))]
        assert (metric.kind == "histogram") == name.endswith("_bucket"), name
        assert set(selected) <= {"run", *metric.labels}, (name, selected)
        assert (function in {"rate", "increase"}) == (metric.kind != "gauge"), (name, function)
        assert ranged == (function in {"rate", "increase", "max_over_time"})
        known |= {"run", *metric.labels}
    assert grouped <= known


def test_every_metric_is_shown_or_alarmed_on():
    shown = {
        re.sub(r"_bucket$", "", name.removeprefix("ray_")) for query in QUERIES.values() for name, *_ in series(query)
    }
    assert set(BY_NAME) <= shown


def test_the_dashboard_has_what_grafana_needs():
    assert (DASHBOARD["title"], DASHBOARD["uid"]) == ("AutoReCap", "autorecap")
    assert DASHBOARD["schemaVersion"] >= 36
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Throughput", "Outcomes", "Stages", "GPU pools", "Sites", "Failures", "Backlog"]
    for panel in PANELS:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for used in re.findall(r"\$(\w+)", " ".join(target["expr"] for target in panel["targets"])):
            assert used in variables or used == "__rate_interval"
        for target in panel["targets"]:
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert labels <= {
                word for text in re.findall(r"by \((.*?)\)", target["expr"]) for word in re.findall(r"\w+", text)
            }


def test_panels_lie_beside_each_other():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_alert_says_what_to_do_and_prometheus_finds_the_nodes():
    assert {rule["labels"]["severity"] for rule in ALERTS} == {"page", "ticket"}
    assert all(rule["annotations"]["summary"] and rule["annotations"]["action"] for rule in ALERTS)
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert [(DEPLOY / "prometheus" / file).is_file() for file in config["rule_files"]] == [True]
    (job,) = config["scrape_configs"]
    assert job["file_sd_configs"][0]["files"] == ["/tmp/ray/prom_metrics_service_discovery.json"]
