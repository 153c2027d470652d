import pytest

from generation.data_order import Pass

SIZES = (5, 1, 7, 4)


@pytest.mark.parametrize("readers", [1, 2, 4, 5, 9])
def test_every_clip_comes_once_in_a_pass_whoever_reads(readers):
    given = []
    for reader in range(readers):
        one = Pass(SIZES, "7/0", reader=reader, readers=readers)
        positions = list(one.shuffled(3))
        assert len(positions) == len(one)
        spans = [one.span(at) for at in range(len(one.shards))]
        given += [(one.shards[one.shard_of(p)], p - spans[one.shard_of(p)].start) for p in positions]
    assert sorted(given) == [(shard, clip) for shard, size in enumerate(SIZES) for clip in range(size)]


def test_passes_and_seeds_differ_and_repeat():
    def order(seed):
        one = Pass(SIZES, seed, reader=0, readers=1)
        return [one.shards, list(one.shuffled(6))]

    assert order("1/0") == order("1/0")
    assert order("1/0") != order("1/1")
    assert order("1/0") != order("2/0")


@pytest.mark.parametrize("count", [0, 1, 5, 16, 17])
def test_what_waits_is_what_came_and_was_not_given(count):
    one = Pass(SIZES, "1/0", reader=0, readers=1)
    given = list(one.shuffled(4))
    order = one.shuffled(4)
    order.skip(count)
    if count:
        assert order.waiting == set(range(order.ahead)) - set(given[:count])
    assert list(order) == given[count:]
