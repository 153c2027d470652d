"""Published extractors' state dicts with random numbers in them (tests/published_weights.py)."""

import importlib.util
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def published():
    spec = importlib.util.spec_from_file_location("autorecap_tests_published", TESTS / "published_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
