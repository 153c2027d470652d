"""From a folder of recordings to captions by a published AutoCap and scores by a published CLAP, both tiny, on Ray."""

import numpy as np
import pytest
import soundfile

from captioner.load import CaptionerOptions, Metadata, load_captioner
from corpus import units
from corpus.store import Store
from corpus.verify import verify_corpus
from pipeline.config import Recipe
from pipeline.plan import plan
from pipeline.run import UnitDone, run_leg
from scorer.load import ClapOptions, load_scorer, model_name
from stages.models import hear
from tests.small_autocap import save_small_autocap

pytestmark = pytest.mark.slow


@pytest.fixture
def ray_is_up():
    from pipeline.engine import ensure_ray, stop_ray

    ensure_ray(num_cpus=2)
    yield
    stop_ray()


def committed(store):
    """Rows of both legs, side by side."""
    rows = []
    for unit in sorted(units.done_units(store, "models", root=False)):
        root, columns = units.read_root_unit(store, unit), units.read_columns_unit(store, "models", unit)
        rows += [a | b for a, b in zip(root.to_pylist(), columns.to_pylist(), strict=True)]
    return rows


def test_a_corpus_is_captioned_and_scored_by_published_models(ray_is_up, tmp_path):
    small = save_small_autocap(tmp_path / "models")
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    for number, hz in enumerate((200, 900, 2500)):
        t = np.arange(44_100 * 13) / 44_100  # one whole window and a rest
        wave = 0.3 * np.sin(2 * np.pi * hz * t) + 0.05 * np.random.default_rng(number).normal(size=t.size)
        soundfile.write(sounds / f"tone {number}.wav", np.stack([wave, 0.5 * wave], axis=1), 44_100)
    clap = {"tokenizer": str(small.clap_tokenizer)}
    recipe = Recipe.model_validate(
        {
            "name": "autocap",
            "run": str(tmp_path / "run"),
            "sources": [{"type": "folder", "path": str(sounds)}],
            "plan": {"unit_clips": 2, "without_transcript": "grid"},
            "legs": {
                "fetch": {"stages": [{"use": "fetch"}, {"use": "cut"}]},
                "models": {
                    "after": "fetch",
                    "stages": [
                        {"use": "load_audio"},
                        {"use": "embed", "model": str(small.clap), "clap": clap, "keep": True},
                        {"use": "caption", "model": str(small.checkpoint), "autocap": {"bart": str(small.bart)}},
                        {"use": "score", "model": str(small.clap), "clap": clap, "min_score": None},
                    ],
                },
            },
        }
    )
    store = Store(recipe.run)
    plan(recipe, store)
    for leg in ("fetch", "models"):
        assert all(event.error is None for event in run_leg(store, recipe, leg) if isinstance(event, UnitDone))
    assert verify_corpus(store, ["fetch", "models"]).ok
    rows = committed(store)
    assert len(rows) == 6
    assert {row["outcome"] for row in rows} == {"ok"}
    assert all(-1 <= row["clap_score"] <= 1 for row in rows)

    scorer = load_scorer(str(small.clap), options=ClapOptions(**clap))
    assert {row["clap_model"] for row in rows} == {model_name(scorer)}
    captioner = load_captioner(str(small.checkpoint), options=CaptionerOptions(bart=str(small.bart)))
    wanted = {}
    for row in rows:
        audio = units.read_audio(store, row["tar"], row["tar_offset"], row["tar_size"])
        wave = hear(audio, captioner.sample_rate_hz)
        embedding = np.array([row["clap_audio_embedding"]], dtype=np.float32)
        told = [Metadata(title=row["title"] or "")]
        wanted[row["clip_id"]] = captioner.caption([wave], metadata=told, clap_embeddings=embedding)[0].text
    assert {row["clip_id"]: row["caption"] for row in rows} == wanted
    assert len(set(wanted.values())) > 1
