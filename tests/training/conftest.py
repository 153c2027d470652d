"""Small shards."""

import pytest

from tests.small_shards import small_shards


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    return small_shards(tmp_path_factory.mktemp("shards"))
