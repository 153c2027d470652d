import numpy as np
import pyarrow as pa

from corpus.fingerprints import Prints, agree, glimpse, joined, pack

RNG = np.random.default_rng(0)


def words(count):
    return RNG.integers(0, 1 << 32, count, np.uint32)


def print_of(own, keys=(), places=()):
    return pack(own, np.array(keys, np.uint32), np.array(places, np.uint16))


def at(*values):
    return np.array(values, np.int64)


def test_what_is_packed_is_read_back_whatever_lies_between():
    a, b = words(5), words(7)
    packed = [print_of(a, [3, 9, 11], [0, 2, 4]), None, print_of(b, [1, 2], [6, 1]), b""]
    for column in (pa.array(packed, pa.binary()), pa.array([b"xxxx", *packed], pa.binary()).slice(1)):
        prints = Prints.of(column)
        assert prints.frames.tolist() == [5, 0, 7, 0]
        assert prints.words_of(0).tolist() == a.tolist()
        assert prints.words_of(2).tolist() == b.tolist()
        assert prints.keys.tolist() == [3, 9, 11, 1, 2]
        assert prints.places.tolist() == [0, 2, 4, 6, 1]
        assert prints.owners.tolist() == [0, 0, 0, 2, 2]


def test_torn_and_foreign_bytes_have_no_frames():
    own = words(6)
    good = print_of(own, [5], [1])
    foreign = (2 << 24).to_bytes(4, "little") + good[4:]
    too_many_keys = (1 << 24 | 999).to_bytes(4, "little") + good[4:]
    prints = Prints.of(pa.array([good[:-1], foreign, too_many_keys, good], pa.binary()))
    assert prints.frames.tolist() == [0, 0, 0, 6]
    assert prints.words_of(3).tolist() == own.tolist()
    assert prints.keys.tolist() == [5]


def test_an_empty_column_has_nothing():
    assert len(Prints.of(pa.array([], pa.binary())).frames) == 0
    assert Prints.of(pa.array([None, None], pa.binary())).frames.tolist() == [0, 0]


def test_pairs_agree_at_their_lag_and_unlike_ones_by_half():
    a, other = words(120), words(100)
    column = pa.array([print_of(a), print_of(a[7:]), print_of(other)], pa.binary())
    prints = Prints.of(column)
    found = agree(prints, at(0, 1, 0), prints, at(1, 0, 2), at(6, -8, 0))
    assert found.errors[:2].tolist() == [0, 0]
    assert found.lag[:2].tolist() == [7, -7]
    assert found.frames[:2].tolist() == [113, 113]
    assert found.kappa[0] > 0.99
    assert found.errors[2] > 0.42
    assert abs(found.kappa[2]) < 0.1


def test_bits_that_never_change_agree_no_better_than_chance():
    still = np.full(200, 0xF0F0F0F0, np.uint32)
    prints = Prints.of(pa.array([print_of(still), print_of(still ^ np.uint32(1))], pa.binary()))
    found = agree(prints, at(0), prints, at(1), at(0))
    assert found.errors[0] < 0.04
    assert found.kappa[0] < 0.01


def test_pairs_without_overlap_differ_in_all():
    prints = Prints.of(pa.array([print_of(words(5)), print_of(words(5)), None], pa.binary()))
    found = agree(prints, at(0, 0), prints, at(1, 2), at(30, 0))
    assert found.errors.tolist() == [1, 1]
    assert found.frames.tolist() == [0, 0]


def test_a_glimpse_sees_the_words_around_a_key():
    a, b = words(200), words(200)
    b[90:160] = a[100:170]
    prints = Prints.of(pa.array([print_of(a), print_of(b)], pa.binary()))
    near, far = glimpse(prints, at(0, 0), at(135, 20), prints, at(1, 1), at(125, 10))
    assert near == 0
    assert far > 0.4


def test_a_join_is_its_members_in_order():
    a, b = words(20), words(20)
    whole = joined([(print_of(a, [7], [3]), 0), (None, 25), (print_of(b, [2], [4]), 28)], frames=48)
    prints = Prints.of(pa.array([whole], pa.binary()))
    assert prints.words_of(0)[:20].tolist() == a.tolist()
    assert prints.words_of(0)[20:28].tolist() == [0] * 8
    assert prints.words_of(0)[28:].tolist() == b.tolist()
    assert (prints.keys.tolist(), prints.places.tolist()) == ([2, 7], [32, 3])
