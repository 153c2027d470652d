from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from audio.codec import encode
from corpus.schema import fields
from scorer.load import load_scorer, model_name
from stages.base import Services, Stage
from stages.embed import Embed
from stages.registry import build_stage


def flac(wave, rate_hz=48_000):
    return encode(np.asarray(wave, dtype=np.float32), rate_hz, "flac")


def tone(hz, seconds=2.0, rate_hz=48_000):
    return 0.4 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz)


def clips(*audios):
    return pa.table(
        {"clip_id": [f"c{k}" for k in range(len(audios))], "audio": pa.array(audios, type=pa.large_binary())}
    )


@pytest.fixture(scope="module")
def stage():
    opened = Embed()
    opened.open(Services(run_root="", cache_dir=Path()))
    return opened


def test_live_clips_get_a_unit_vector_and_the_models_name(stage):
    out = stage.run(clips(flac(tone(440)), flac(tone(900, 12.0)), flac(tone(300, rate_hz=8000), 8000)))
    assert out.schema.field("clap_audio_embedding").type == fields("clap_audio_embedding").field(0).type
    vectors = np.array(out.column("clap_audio_embedding").to_pylist())
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-4)
    assert set(out.column("clap_model").to_pylist()) == {model_name(load_scorer())}
    assert out.column("outcome").to_pylist() == [None] * 3


def test_clips_that_cannot_be_heard_end_with_a_reason(stage):
    out = stage.run(clips(flac(tone(440)), None, b"fLaC broken", flac(np.zeros(9000)), flac(tone(440)[:100])))
    assert out.column("outcome").to_pylist() == [None, "failed", "failed", "filtered", None]
    assert out.column("reason").to_pylist() == [None, "no_audio", "undecodable", "silent", None]
    assert [v is None for v in out.column("clap_audio_embedding").to_pylist()] == [False, True, True, True, False]


def test_batch_and_neighbours_change_no_number(stage):
    audios = [flac(tone(200 + 90 * k, 1 + k / 3)) for k in range(5)]
    whole = stage.run(clips(*audios)).column("clap_audio_embedding")
    small = Embed(batch=2)
    small.open(Services(run_root="", cache_dir=Path()))
    assert small.run(clips(*audios)).column("clap_audio_embedding").equals(whole)
    assert stage.run(clips(*audios[::-1])).column("clap_audio_embedding").to_pylist()[::-1] == whole.to_pylist()


def test_decoding_ahead_as_beside_a_gpu_changes_no_number(stage):
    audios = [flac(tone(200 + 90 * k)) for k in range(5)] + [b"broken"]
    ahead = Embed(batch=2)
    ahead.open(Services(run_root="", cache_dir=Path()))
    ahead._ahead = True
    assert ahead.run(clips(*audios)).equals(stage.run(clips(*audios)))


def test_a_published_clap_is_loaded_with_its_options(tmp_path):
    """The stages from the recipe's own words: LAION's file, a tokenizer, the weights' hash."""
    from scorer.load import load_scorer as load
    from tests.small_clap import save_laion, small_model, small_tokenizer

    save_laion(small_model(), tmp_path / "clap.pt")
    small_tokenizer(tmp_path / "words")
    options = {"model": str(tmp_path / "clap.pt"), "clap": {"tokenizer": str(tmp_path / "words"), "batch": 2}}
    embed, score = build_stage("embed", options), build_stage("score", options)
    for one in (embed, score):
        one.open(Services(run_root="", cache_dir=Path()))
    heard = embed.run(clips(flac(tone(440)), flac(tone(900))))
    heard = heard.append_column("caption", pa.array(["a dog barks", "water runs"]))
    scored = score.run(heard)
    alone = load(options["model"], options=embed.clap)
    assert set(scored.column("clap_model").to_pylist()) == {model_name(alone)}
    texts = alone.embed_text(["a dog barks", "water runs"])
    wanted = [float(np.dot(v, t)) for v, t in zip(heard.column("clap_audio_embedding").to_pylist(), texts, strict=True)]
    assert np.allclose(scored.column("clap_score").to_pylist(), wanted, atol=1e-6)
    with pytest.raises(ValueError, match="wanted 000000000000"):
        build_stage("embed", options | {"clap": options["clap"] | {"weights_sha256": "0" * 12}}).open(
            Services(run_root="", cache_dir=Path())
        )


def test_no_rows_are_no_trouble(stage):
    assert stage.run(clips()).num_rows == 0


def test_it_is_a_stage_whose_options_are_checked():
    assert isinstance(build_stage("embed", {"keep": True}), Stage)
    assert Embed().transient == ("clap_audio_embedding",)
    assert Embed(keep=True).transient == ()
    with pytest.raises(Exception, match="batch"):
        build_stage("embed", {"batch": 0})
