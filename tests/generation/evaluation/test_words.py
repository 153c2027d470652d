"""Names in messages."""

from generation.evaluation.words import some_names


def test_a_few_are_shown_and_nothing_in_them_steers_a_terminal():
    assert some_names(["a", "b"]) == "a, b"
    assert some_names(str(k) for k in range(9)) == "0, 1, 2, 3, 4, …"
    assert some_names(["a\x1b[2Jb\n"]) == "a?[2Jb?"
