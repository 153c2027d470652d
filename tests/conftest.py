"""Fixtures that more than one package's tests use."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from corpus import object_store

TESTS = Path(__file__).parent

# No test asks a model hub for anything, whatever a library would like to look up.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Nor does a Ray cluster that a test starts by itself tell its makers of it.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def _load(name: str) -> ModuleType:
    """A helper module that lies in tests/ (which is no package)."""
    spec = importlib.util.spec_from_file_location(f"autorecap_tests_{name}", TESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A real website on 127.0.0.1 (tests/site_server.py), reached without any proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    running = _load("site_server").Site()
    yield running
    running.close()


@pytest.fixture(scope="session")
def plugin_dir() -> str:
    """Extractor plugins for the watch pages of `site`."""
    return str(TESTS / "data" / "ytdlp_plugins")


@pytest.fixture(scope="session")
def small_corpus() -> Any:
    """SmallCorpus(**what to make) of tests/small_corpus.py; `.make(folder)` plans, commits and compacts it."""
    return _load("small_corpus").SmallCorpus


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A server on 127.0.0.1 that speaks S3 (tests/s3_server.py); this process and its children find it."""
    s3fs = pytest.importorskip("s3fs")
    running = _load("s3_server").S3Server()
    s3fs.S3FileSystem.clear_instance_cache()  # clients of another file's server
    object_store.forget()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running
    running.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Any]:
    """A disk of 1 MB (tests/full_disk.py)."""
    disk = _load("full_disk").SmallDisk(tmp_path / "disk", 1024)
    yield disk
    disk.close()
