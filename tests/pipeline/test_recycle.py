import pytest

from pipeline import memory
from pipeline.recycle import GROWN, Wear


def test_a_given_limit_counts_from_the_first_unit():
    assert Wear(1.0).is_worn()
    assert not Wear(1e6).is_worn()


@pytest.mark.parametrize(("later", "worn"), [(1.5, False), (GROWN + 0.1, True)])
def test_without_one_a_worker_is_worn_when_it_is_large_and_has_grown(monkeypatch, later, worn):
    """A large model is held from the first unit on: that is no leak."""
    large = memory.machine_bytes()
    monkeypatch.setattr(memory, "own_bytes", lambda: large)
    wear = Wear(None)
    assert not wear.is_worn()
    monkeypatch.setattr(memory, "own_bytes", lambda: int(large * later))
    assert wear.is_worn() is worn


def test_memory_is_read_from_the_kernel():
    ballast = b"x" * 50_000_000
    assert memory.own_bytes() > len(ballast)
    assert memory.own_bytes(1 << 30) == 0
    assert memory.machine_bytes() > memory.own_bytes()
