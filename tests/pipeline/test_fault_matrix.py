"""What sites do, really met: the reason that each behaviour ends with, and whether a retry recovers it."""

import pytest

from benchmarks.fault_behaviours import BEHAVIOURS
from benchmarks.fault_matrix import PAGE, page, run_matrix

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        yield run_matrix(tmp_path_factory.mktemp("faults"))


def test_every_behaviour_ends_as_stated_and_a_retry_brings_back_what_can_be(matrix):
    assert matrix.wrong == []


def test_the_page_in_docs_is_what_a_run_writes(matrix):
    assert PAGE.read_text(encoding="utf-8") == page(matrix)


def test_the_list_of_behaviours_has_no_two_of_one_name():
    names = [behaviour.name for behaviour in BEHAVIOURS]
    assert len(set(names)) == len(names) >= 50
