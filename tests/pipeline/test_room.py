from pipeline.config import Execution, Pool
from pipeline.room import lacking

MODELS = Pool(workers=2, gpus_per_worker=1, cpus_per_worker=3, resources={"models": 1})
EXECUTION = Execution(task_resources={"fetch": {"fetch": 1}, "models": {"models": 0.5}})


def test_there_is_room_when_pools_and_one_task_fit():
    assert lacking("models", EXECUTION, [MODELS], {"CPU": 7, "GPU": 2, "models": 1000}) == []
    assert lacking("fetch", EXECUTION, [], {"CPU": 1, "fetch": 1}) == []


def test_a_mark_that_the_pool_takes_whole_leaves_none_for_the_tasks_that_read():
    (line,) = lacking("models", EXECUTION, [MODELS], {"CPU": 8, "GPU": 2, "models": 2})
    assert line.startswith("leg models asks for models 2.5 (its pools and one task), the cluster has 2:")


def test_nodes_that_are_not_there_are_named_each():
    lines = lacking("models", EXECUTION, [MODELS], {"CPU": 4, "fetch": 1000})
    assert [line.split(" asks for ")[1].split(" (")[0] for line in lines] == ["CPU 6.66", "models 2.5", "GPU 2"]
