"""Which sounds are compared."""

from generation.evaluation.sample import choose

MANY = [f"s{k:02}" for k in range(20)]


def test_sets_of_one_size_are_taken_whole():
    assert choose(["b", "a"], ["x", "y"]) == (["a", "b"], ["x", "y"], "")


def test_of_the_larger_set_the_names_of_the_smaller_are_taken():
    chosen = choose(["s03", "s01"], MANY)
    assert chosen == (["s01", "s03"], ["s01", "s03"], "2 of 20 reference sounds: 2 of the same names")


def test_what_has_no_pair_is_filled_up_by_a_seeded_draw():
    chosen = choose(["s03", "other", "another"], MANY, seed=5)
    assert len(chosen.reference) == 3
    assert "s03" in chosen.reference
    assert chosen.how == "3 of 20 reference sounds: 1 of the same names, 2 drawn with seed 5"
    assert choose(["s03", "other", "another"], MANY, seed=5) == chosen
    draws = {tuple(choose(["x", "y", "z"], MANY, seed=seed).reference) for seed in range(5)}
    assert len(draws) > 1


def test_either_side_may_be_the_larger():
    assert choose(MANY, ["s07"])[:2] == (["s07"], ["s07"])


def test_all_of_both_when_that_is_asked_for():
    assert choose(MANY, ["s07"], equal=False) == (MANY, ["s07"], "")
