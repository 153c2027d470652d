from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from corpus.schema import fields
from scorer.load import load_scorer, model_name
from stages.base import Services, Stage
from stages.registry import build_stage
from stages.score import Score

SERVICES = Services(run_root="", cache_dir=Path())
SCORER = load_scorer()


def clips(captions, embeddings, models=None):
    schema = fields("clap_audio_embedding", "clap_model")
    return pa.table(
        {
            "clip_id": [f"c{k}" for k in range(len(captions))],
            "caption": pa.array(captions, type=pa.string()),
            "clap_audio_embedding": pa.array(embeddings, type=schema.field(0).type),
            "clap_model": pa.array(models or [model_name(SCORER)] * len(captions), type=pa.string()),
        }
    )


def score(table, **options):
    stage = Score(**options)
    stage.open(SERVICES)
    return stage.run(table)


def test_the_score_is_the_dot_product_with_the_models_name():
    dog, water = SCORER.embed_text(["a dog barks", "water runs"])
    out = score(clips(["a dog barks", "a dog barks"], [dog, water]))
    assert np.allclose(out.column("clap_score").to_pylist(), [1.0, float(dog @ water)], atol=1e-5)
    assert set(out.column("clap_model").to_pylist()) == {model_name(SCORER)}
    assert out.column("outcome").to_pylist() == [None, None]


def test_clips_under_the_limit_are_filtered():
    (dog,) = SCORER.embed_text(["a dog barks"])
    table = clips(["a dog barks", "a dog barks"], [dog, -dog])
    for limit in (0.5, "auto"):
        out = score(table, min_score=limit)
        assert out.column("outcome").to_pylist() == [None, "filtered"]
        assert out.column("reason").to_pylist() == [None, "low_clap"]
        assert out.column("clap_score").null_count == 0


def test_a_clip_without_caption_or_embedding_fails_with_a_reason():
    (dog,) = SCORER.embed_text(["a dog barks"])
    out = score(clips(["", None, "a dog barks"], [dog, dog, None]))
    assert out.column("reason").to_pylist() == ["no_caption", "no_caption", "no_embedding"]
    assert out.column("clap_score").null_count == 3


def test_another_models_embeddings_are_refused():
    (dog,) = SCORER.embed_text(["a dog barks"])
    with pytest.raises(ValueError, match="embeddings are of another@0"):
        score(clips(["a dog barks"], [dog], ["another@0"]))


@pytest.mark.parametrize("good", [None, "auto", 0.3])
def test_good_limits(good):
    assert isinstance(build_stage("score", {"min_score": good}), Stage)


@pytest.mark.parametrize("bad", ["best", 1.5])
def test_bad_limits_are_refused(bad):
    with pytest.raises(Exception, match="min_score"):
        build_stage("score", {"min_score": bad})
