import numpy as np
import pyarrow as pa
import pytest

from stages.join import Join
from stages.registry import StageError, build_stage


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


NEAR, FAR, DRIFTED = [1.0, 0.1], [0.0, 1.0], [1.0, 0.6]
STEPS = [("a", 10_000 * at, 10_000 * (at + 1)) for at in range(4)]


def joined(captions, embeddings, **options):
    rows = [(*step, caption) for step, caption in zip(STEPS, captions, strict=False)]
    out = Join(**options).run(clips(*rows, embeddings=embeddings))
    return out.column("merged_into").to_pylist()


def test_by_embedding_neighbours_that_sound_alike_become_one_whatever_is_said_of_them():
    table = clips(("a", 0, 10_000, "rain"), ("a", 10_000, 20_000, "drizzle"), embeddings=[[1.0, 0.0], NEAR])
    out = Join(by="embedding", min_similarity=0.95).run(table)
    assert out.column("merged_into").to_pylist() == [None, "a_0_10000"]
    assert out.column("caption").to_pylist() == ["rain", "drizzle"]  # the joined clip's is the first's
    assert np.linalg.norm(out.column("clap_audio_embedding").to_pylist()[0]) == pytest.approx(1)


def test_by_embedding_the_same_caption_is_not_enough():
    assert joined(["rain", "rain"], [[1.0, 0.0], FAR], by="embedding", min_similarity=0.95) == [None, None]


@pytest.mark.parametrize(
    ("by", "merged"),
    [("either", [None, "a_0_10000", "a_0_10000", None]), ("both", [None, "a_0_10000", None, None])],
)
def test_either_or_both(by, merged):
    found = joined(["rain", "rain", "drizzle", "wind"], [[1.0, 0.0], NEAR, NEAR, FAR], by=by, min_similarity=0.95)
    assert found == merged


def test_a_sound_that_drifts_is_held_against_the_first():
    found = joined(list("abc"), [[1.0, 0.0], [1.0, 0.3], DRIFTED], by="embedding", min_similarity=0.9)
    assert found == [None, "a_0_10000", None]


def test_by_embedding_captions_need_not_be_there_yet():
    table = clips(("a", 0, 10_000, ""), ("a", 10_000, 20_000, ""), embeddings=[NEAR, NEAR]).drop_columns(["caption"])
    out = Join(by="embedding", min_similarity=0.95).run(table)
    assert out.column("outcome").to_pylist() == [None, "merged"]


@pytest.mark.parametrize("missing", [None, [0.0, 0.0], [1.0]])
def test_a_clip_without_a_sound_embedding_stays_alone(missing):
    assert joined(["x", "y"], [[1.0, 0.0], missing], by="embedding", min_similarity=-1) == [None, None]


def test_embeddings_are_read_only_where_they_are_needed():
    assert "clap_audio_embedding" not in Join().reads
    assert "caption" not in Join(by="embedding", min_similarity=0.9).reads
    assert {"caption", "clap_audio_embedding"} <= set(Join(by="both", min_similarity=0.9).reads)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"by": "embedding"}, "needs min_similarity"),
        ({"min_similarity": 0.9}, "does nothing with by: caption"),
        ({"by": "sound"}, "by: input should be"),
        ({"by": "both", "min_similarity": 2}, "less than or equal to 1"),
        ({"max_joined_s": 0}, "greater than 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, problem):
    with pytest.raises(StageError, match=problem):
        build_stage("join", options)
