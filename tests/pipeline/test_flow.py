"""The loop over Ray's tasks and actors, on a real local Ray."""

import os
import signal
import threading
import time

import pytest

from pipeline.engine import ensure_ray, stop_ray
from pipeline.flow import AGAIN, AHEAD, PoolStep, Slots, TaskStep, flow
from pipeline.stopping import Stopped, stoppable


@pytest.fixture(scope="module", autouse=True)
def ray():
    import ray

    ensure_ray(num_cpus=2)
    yield ray
    stop_ray()


def mark(given, folder, name):
    """Leaves a file; says how many units have been begun and not ended at that time."""
    path = folder / f"{name}-{str(given).split('/')[0]}"
    path.touch()
    begun, ended = len(list(folder.glob("first-*"))), len(list(folder.glob("last-*")))
    return f"{given}/{begun - ended}"


class Pool:
    def __init__(self, folder):
        self.folder = folder

    def work(self, given):
        time.sleep(0.1)  # as slow as a model: one alone could not keep up
        return mark(given, self.folder, f"actor{os.getpid()}")


def slots():
    return Slots({"CPU": 1.0})


def steps(ray, folder, actors):
    places = slots()
    task = ray.remote(num_cpus=1, max_retries=0)(mark)
    pool = [ray.remote(num_cpus=0)(Pool).remote(folder) for _ in range(actors)]
    ray.get([actor.__ray_ready__.remote() for actor in pool])  # else one may have done all before the other begins
    return places, [
        TaskStep(task, (folder, "first"), places, first=True),
        PoolStep(pool),
        TaskStep(task, (folder, "last"), places, first=False),
    ]


def test_every_unit_goes_through_all_steps_in_order_and_few_are_on_the_way(ray, tmp_path):
    units = [f"{at:03d}" for at in range(60)]
    _, through = steps(ray, tmp_path, actors=2)
    ended = list(flow(through, units, lambda: 7))
    assert sorted(unit for unit, _, _ in ended) == units
    assert all(error is None and made.startswith(unit) for unit, made, error in ended)
    assert max(int(open_) for _, made, _ in ended for open_ in made.split("/")[1:]) <= 7
    by_actor = [len(list(tmp_path.glob(f"{name}*"))) for name in {p.name[:-4] for p in tmp_path.glob("actor*")}]
    assert len(by_actor) == 2
    assert min(by_actor) >= 10  # both have worked


def test_slots_follow_what_the_cluster_has(ray):
    assert slots().most() == AHEAD * 2
    assert Slots({"CPU": 0.5}).most() == AHEAD * 4
    assert Slots({"CPU": 1.0, "nowhere": 1.0}).most() == AHEAD  # what is waited for is asked for


def fail(given):
    raise ValueError(f"no {given}")


def test_a_bug_loses_its_unit_at_once_and_no_other(ray, tmp_path):
    places = slots()
    last = TaskStep(ray.remote(num_cpus=1)(mark), (tmp_path, "last"), places, first=False)
    through = [TaskStep(ray.remote(num_cpus=1)(lambda u: fail(u) if u == "b" else u), (), places, first=True), last]
    ended = {unit: (made, error) for unit, made, error in flow(through, ["a", "b", "c"], lambda: 4)}
    assert ended["a"][1] is None
    assert ended["c"][1] is None
    assert "no b" in str(ended["b"][1])
    assert not list(tmp_path.glob("last-b"))


def test_a_unit_whose_worker_dies_is_begun_again_so_often_and_then_lost(ray, tmp_path):
    def die(given, folder):
        (folder / f"{given}-{time.time_ns()}").touch()
        if given == "poison" or (given == "once" and len(list(folder.glob("once-*"))) == 1):
            os._exit(1)
        return given

    places = slots()
    through = [TaskStep(ray.remote(num_cpus=1, max_retries=0)(die), (tmp_path,), places, first=True)]
    ended = {unit: (made, error) for unit, made, error in flow(through, ["poison", "once", "good"], lambda: 1)}
    assert ended["good"] == ("good", None)
    assert ended["once"] == ("once", None)
    assert "died" in str(ended["poison"][1])
    assert len(list(tmp_path.glob("poison-*"))) == 1 + AGAIN


def test_a_unit_whose_table_is_lost_before_the_next_step_is_begun_again(ray, tmp_path):
    def die_once(given, folder):
        if not (folder / given).exists():
            (folder / given).touch()
            os._exit(1)
        return given

    places = slots()
    first = TaskStep(ray.remote(num_cpus=1, max_retries=0)(die_once), (tmp_path,), places, first=True)
    last = TaskStep(ray.remote(num_cpus=1)(lambda given: given), (), places, first=False)
    assert list(flow([first, last], ["a"], lambda: 1)) == [("a", "a", None)]


def test_an_actor_that_finds_no_room_keeps_no_unit(ray, tmp_path):
    _, through = steps(ray, tmp_path, actors=1)
    nowhere = ray.remote(num_cpus=0, resources={"nowhere": 1})(Pool).remote(tmp_path)
    through[1] = PoolStep([nowhere, ray.remote(num_cpus=0)(Pool).remote(tmp_path)])
    units = [f"{at:03d}" for at in range(10)]
    assert sorted(unit for unit, _, error in flow(through, units, lambda: 7) if error is None) == units


def test_a_signal_while_the_loop_waits_stops_it(ray):
    def slow(given):
        time.sleep(5)

    places = slots()
    through = [TaskStep(ray.remote(num_cpus=1)(slow), (), places, first=True)]
    kick = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    kick.start()
    with pytest.raises(Stopped), stoppable():
        list(flow(through, ["a", "b"], places.most))
    kick.join()


def test_who_goes_away_early_leaves_nothing_running(ray, tmp_path):
    def slow(given, folder):
        time.sleep(0.5)
        (folder / given).touch()

    places = slots()
    through = [TaskStep(ray.remote(num_cpus=1)(slow), (tmp_path,), places, first=True)]
    running = flow(through, [f"{at}" for at in range(20)], places.most)
    next(running)
    running.close()
    time.sleep(2)
    assert len(list(tmp_path.iterdir())) <= 4  # of those that were on their way
