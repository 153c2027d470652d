"""The real actor on a real local Ray: one pace for all workers, and workers that go on when it dies."""

from __future__ import annotations

import pickle
import time
from dataclasses import replace

import pytest

from pipeline import governor_actor
from pipeline.governor_actor import NAME, NAMESPACE, ClusterGovernor, GovernorLost, cluster_governor
from stages.gate import Rules
from stages.turns import SiteShut, Turns

RULES = Rules(sessions=(("a", 20.0),), cool_down_s=60, max_wait_s=30)


@pytest.fixture(scope="module", autouse=True)
def ray_is_up():
    from pipeline.engine import ensure_ray, stop_ray

    assert cluster_governor() is None
    ensure_ray(num_cpus=2)
    yield
    stop_ray()


def take(governor: ClusterGovernor, url: str, times: int) -> list[float]:
    """When each of the turns came, by the machine's clock."""
    turns, came = Turns(governor, RULES), []
    for _ in range(times):
        turn = turns.take(url)
        with turns.reported(turn, url):
            came.append(time.time())
    return came


def test_workers_of_several_processes_share_one_pace():
    import ray

    worker = ray.remote(num_cpus=1)(take)
    governor = cluster_governor()
    assert governor is not None
    came_each = ray.get([worker.remote(governor, "http://a.example/", 8) for _ in range(2)])
    came = sorted(moment for each in came_each for moment in each)
    assert len(came) == 16
    assert came[-1] - came[0] >= 15 / 20 - 0.1
    told = governor.snapshot()["a.example"]
    assert (told["requests"], told["open"]) == (16, True)


def test_pauses_hold_for_all_and_a_shut_site_is_said_to_all():
    one, other = ClusterGovernor(), ClusterGovernor()
    one.report(RULES, one.ask(RULES, "b.example"), "blocked", "x")
    assert other.ask(RULES, "b.example").shut
    with pytest.raises(SiteShut, match="a cooling down"):
        Turns(other, RULES).take("http://b.example/")
    patient = replace(RULES, max_wait_s=3600)
    assert other.ask(patient, "b.example").paused


@pytest.mark.parametrize("comes_back", [True, False])
def test_when_it_dies_its_askers_go_on(comes_back: bool):
    import ray

    governor = ClusterGovernor()
    take(governor, "http://c.example/", 1)
    ray.kill(ray.get_actor(NAME, namespace=NAMESPACE), no_restart=not comes_back)
    take(governor, "http://c.example/", 2)
    assert governor.snapshot()["c.example"]["requests"] >= 1


def test_nobody_waits_for_ever_for_an_answer(monkeypatch: pytest.MonkeyPatch):
    import ray

    @ray.remote(num_cpus=0)
    class Deaf:
        def ask(self, *asked: object) -> None:
            time.sleep(5)

    deaf = Deaf.remote()
    monkeypatch.setattr(governor_actor, "found_or_made", lambda: deaf)
    monkeypatch.setattr(governor_actor, "ANSWER_S", 0.2)
    monkeypatch.setattr(governor_actor, "GIVE_UP_S", 0.5)
    with pytest.raises(GovernorLost):
        ClusterGovernor().ask(RULES, "d.example")


def test_it_travels_as_plain_data():
    governor = ClusterGovernor()
    governor.ask(RULES, "e.example")
    assert pickle.loads(pickle.dumps(governor)).ask(RULES, "e.example").session == "a"
