import numpy as np
import pyarrow as pa
import pytest

from stages.join import Join


def clips(*rows, embeddings=None):
    names = ("source_id", "start_ms", "end_ms", "caption")
    columns = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    columns["clip_id"] = [f"{source}_{start}_{end}" for source, start, end, _ in rows]
    if embeddings is not None:
        columns["clap_audio_embedding"] = pa.array(embeddings, type=pa.list_(pa.float32()))
    return pa.table(columns)


def test_abutting_clips_with_equal_captions_become_one():
    table = clips(("a", 0, 10_000, "rain"), ("a", 10_000, 20_000, "rain"), ("a", 20_000, 23_000, "rain"))
    out = Join().run(table)
    assert out.column("outcome").to_pylist() == [None, "merged", "merged"]
    assert out.column("merged_into").to_pylist() == [None, "a_0_10000", "a_0_10000"]
    assert out.column("joined_end_ms").to_pylist() == [23_000, None, None]


@pytest.mark.parametrize(
    "second",
    [
        ("a", 10_001, 20_000, "rain"),  # does not abut
        ("b", 10_000, 20_000, "rain"),  # another source
        ("a", 10_000, 20_000, "wind"),  # another caption
    ],
)
def test_clips_that_differ_stay_apart(second):
    out = Join().run(clips(("a", 0, 10_000, "rain"), second))
    assert out.column("outcome").to_pylist() == [None, None]
    assert out.column("joined_end_ms").to_pylist() == [None, None]


def test_empty_captions_never_join():
    out = Join().run(clips(("a", 0, 10_000, ""), ("a", 10_000, 20_000, "")))
    assert out.column("outcome").to_pylist() == [None, None]


def test_a_limit_on_length_starts_a_new_join():
    rows = [("a", 10_000 * at, 10_000 * (at + 1), "rain") for at in range(4)]
    out = Join(max_joined_s=20).run(clips(*rows))
    assert out.column("joined_end_ms").to_pylist() == [20_000, None, 40_000, None]
    assert out.column("merged_into").to_pylist() == [None, "a_0_10000", None, "a_20000_30000"]


def test_the_joined_embedding_is_the_normalised_mean():
    table = clips(("a", 0, 1000, "rain"), ("a", 1000, 2000, "rain"), embeddings=[[1.0, 0.0], [0.0, 1.0]])
    out = Join().run(table)
    assert np.allclose(out.column("clap_audio_embedding").to_pylist()[0], [2**-0.5, 2**-0.5])
    assert out.column("clap_audio_embedding").to_pylist()[1] == [0.0, 1.0]


def test_no_rows_are_no_trouble():
    out = Join().run(clips(embeddings=[]))
    assert out.num_rows == 0
    assert "merged_into" in out.column_names
