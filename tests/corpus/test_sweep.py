"""What a sweep takes: leftovers that nobody will name, on a disk and on a server that speaks S3."""

import os
import time

import pytest
import s3fs

from corpus.store import Store
from corpus.sweep import SPARE_S, leftovers, sweep

TARS = "corpus/audio/00000"
ORPHANS = (f"{TARS}/00000-00000-0123456789ab.tar", f"{TARS}/00000-00000.r1-0123456789ab.tar")
OF_OTHERS = ["plan/sources/.tmp-00000-aaaaaaaaaaaa", "views/.tmp-mq-bbbbbbbbbbbb"]


@pytest.fixture(params=["disk", "s3"])
def store(request, tmp_path):
    """A run folder with a unit, its tar, and what killed writers left."""
    if request.param == "disk":
        store = Store(str(tmp_path / "run"))
    else:
        request.getfixturevalue("s3")
        bucket = f"sweep-{time.monotonic_ns()}"
        s3fs.S3FileSystem().mkdir(bucket)
        store = Store(f"s3://{bucket}/run")
    for path in ("corpus/units/00000/00000-00001.parquet", f"{TARS}/00000-00001-aaaaaaaaaaaa.tar"):
        store.put_if_absent(path, b"named")
    for path in (*ORPHANS, "corpus/units/00000/.tmp-dead", *OF_OTHERS):
        store.put_if_absent(path, b"left over")
    return store


def swept(store, **options):
    return sweep(store, leftovers(store), {f"{TARS}/00000-00001-aaaaaaaaaaaa.tar"}, {"00000-00001"}, **options)


def test_orphans_and_temporary_files_go_and_what_is_named_stays(store):
    counted = swept(store, delete=False)
    assert (counted.tars, counted.temporary, counted.spared) == (2, 1, 2)
    assert "--sweep deletes them; 2 are too young" in counted.says(deleted=False)
    assert swept(store).says(deleted=True).startswith("2 orphan tars, 1 temporary files deleted")
    assert store.list() == [f"{TARS}/00000-00001-aaaaaaaaaaaa.tar", "corpus/units/00000/00000-00001.parquet"]
    assert store.list(temporary=True) == OF_OTHERS  # a planner, or somebody who selects, may be at work


def test_while_a_driver_is_at_work_nothing_young_is_taken(store):
    found = swept(store, spare_s=SPARE_S)
    assert (found.tars, found.temporary, found.spared) == (0, 0, 5)
    assert set(ORPHANS) <= set(store.list(TARS))


def test_an_hour_later_it_is_no_running_driver_s(tmp_path):
    store = Store(str(tmp_path))
    store.put_if_absent(ORPHANS[0], b"")
    store.put_if_absent("plan/sources/.tmp-00000-aaaaaaaaaaaa", b"")
    for path in (ORPHANS[0], "plan/sources/.tmp-00000-aaaaaaaaaaaa"):
        os.utime(tmp_path / path, (time.time() - SPARE_S - 1,) * 2)
    found = swept(store, spare_s=SPARE_S)
    assert (found.tars, found.temporary, found.spared) == (1, 1, 0)


def test_an_upload_in_parts_that_was_never_finished_is_ended(s3):
    fs = s3fs.S3FileSystem()
    fs.mkdir("parts")
    for key in ("run/corpus/audio/00000/x.tar", "another/x.tar"):
        begun = fs.call_s3("create_multipart_upload", Bucket="parts", Key=key)
        fs.call_s3("upload_part", Bucket="parts", Key=key, PartNumber=1, UploadId=begun["UploadId"], Body=b"x" * 100)
    store = Store("s3://parts/run")
    assert swept(store, delete=False).uploads == 1
    assert "1 unfinished uploads deleted" in swept(store).says(deleted=True)
    assert [upload["Key"] for upload in fs.list_multipart_uploads("parts")] == ["another/x.tar"]
    assert store.list() == []
