import pytest

from training.checkpoint import damage, newest, put_folder, save, sweep


def writing(text):
    def write(folder):
        (folder / "a.txt").write_text(text)
        (folder / "b.txt").write_text(text * 2)

    return write


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_last_ones_are_kept_and_the_newest_is_found(tmp_path):
    for step in (5, 10, 15):
        save(tmp_path, step, writing(str(step)), keep=2)
    assert names(tmp_path) == ["step-00000010", "step-00000015"]
    assert newest(tmp_path) == tmp_path / "step-00000015"
    assert newest(tmp_path / "none") is None


@pytest.mark.parametrize("harm", ["cut", "changed", "lost", "no sums", "sums cut"])
def test_a_damaged_one_is_passed_over_for_the_one_before(tmp_path, harm):
    for step in (5, 10):
        save(tmp_path, step, writing("word"), keep=3)
    last = tmp_path / "step-00000010"
    if harm == "cut":
        (last / "a.txt").write_text("wo")
    elif harm == "changed":
        (last / "b.txt").write_text("wordworx")
    elif harm == "lost":
        (last / "a.txt").unlink()
    elif harm == "no sums":
        (last / "complete.json").unlink()
    else:
        (last / "complete.json").write_text("{")
    assert damage(last)
    assert newest(tmp_path) == tmp_path / "step-00000005"
    # Going on from there: the damaged one of a later step is no reason to drop the good one.
    save(tmp_path, 7, writing("on"), keep=1)
    assert names(tmp_path) == ["step-00000007"]


def test_a_write_that_fails_leaves_no_checkpoint(tmp_path):
    def fails(folder):
        (folder / "a.txt").write_text("half")
        raise OSError("disk full")

    save(tmp_path, 5, writing("word"), keep=3)
    with pytest.raises(OSError, match="disk full"):
        save(tmp_path, 10, fails, keep=3)
    assert newest(tmp_path) == tmp_path / "step-00000005"
    sweep(tmp_path)
    assert names(tmp_path) == ["step-00000005"]


def test_a_folder_is_replaced_whole(tmp_path):
    put_folder(tmp_path / "model", writing("old"))
    put_folder(tmp_path / "model", writing("new"))
    assert (tmp_path / "model/a.txt").read_text() == "new"
    assert names(tmp_path) == ["model"]
    assert damage(tmp_path / "model") is None
