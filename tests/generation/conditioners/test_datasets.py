import pytest
import torch

from generation.conditioners.base import ConditionerError
from generation.conditioners.datasets import PUBLISHED, DatasetIds, numbered


def test_no_data_set_has_a_number_of_its_own():
    ids = numbered(["ours", "theirs", "ours"])
    assert ids.of(["theirs", None, "ours"]).tolist() == [1, 31, 0]
    assert ids.one_hot(ids.of([None])).nonzero().tolist() == [[0, 31]]


def test_the_reference_s_is_audiocaps_by_its_switch():
    ids = DatasetIds(PUBLISHED, unconditional=0)
    assert ids.of(["audiocaps", None, "autocap"]).tolist() == [0, 0, 9]
    assert ids.one_hot(ids.of(["clotho"])).dtype == torch.float32


def test_an_unknown_name_is_no_data_set_s():
    with pytest.raises(ConditionerError, match=r"'clotho2' has no id; the model knows .*clotho"):
        DatasetIds(PUBLISHED).of(["clotho2"])


@pytest.mark.parametrize(
    ("ids", "more"), [({"a": 32}, {}), ({"a": -1}, {}), ({"a": 31}, {}), ({}, {"unconditional": 40})]
)
def test_numbers_that_cannot_be_are_refused(ids, more):
    with pytest.raises(ConditionerError, match="data set id"):
        DatasetIds(ids, **more)
