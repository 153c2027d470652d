from corpus.differences import differences


def test_every_value_that_differs_is_named_by_its_place():
    there = {"plan": {"gap_min_s": 1.0, "pad_s": 0.0}, "stages": [{"use": "cut"}, {"use": "measure"}], "gone": 1}
    here = {"plan": {"gap_min_s": 2.0, "pad_s": 0.0}, "stages": [{"use": "cut", "rate": 16}, {"use": "hear"}]}
    assert differences(there, here) == [
        "plan.gap_min_s: there 1.0, asked 2.0",
        "stages.0.rate: there null, asked 16",
        'stages.1.use: there "measure", asked "hear"',
        "gone: there 1, asked null",
    ]


def test_lists_of_other_lengths_differ_as_a_whole():
    assert differences({"a": [1]}, {"a": [1, 2]}, "legs") == ["legs.a: there [1], asked [1, 2]"]


def test_equal_things_have_no_differences():
    assert differences({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}) == []
