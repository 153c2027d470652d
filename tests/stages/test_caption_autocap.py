"""The caption stage with a published AutoCap beside a published CLAP, both tiny."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from audio.codec import encode
from captioner.load import CaptionerOptions, load_captioner
from scorer.load import ClapOptions
from stages.base import Services
from stages.caption import Caption
from stages.embed import Embed
from stages.registry import build_stage
from tests.small_autocap import save_small_autocap

SERVICES = Services(run_root="", cache_dir=Path())


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return save_small_autocap(tmp_path_factory.mktemp("autocap"))


def flac(hz, seconds):
    wave = 0.4 * np.sin(2 * np.pi * hz * np.arange(round(seconds * 48_000)) / 48_000)
    return encode(wave.astype(np.float32), 48_000, "flac")


def table():
    audios = [flac(300, 10.0), flac(1000, 2.0), flac(2000, 0.002), flac(440, 25.0)]
    return pa.table(
        {
            "clip_id": [f"c{k}" for k in range(4)],
            "audio": pa.array(audios, type=pa.large_binary()),
            "title": pa.array(["My dog at the lake", None, None, "rain"]),
            "description": pa.array([None] * 4, type=pa.string()),
            "video_caption": pa.array([None] * 4, type=pa.string()),
        }
    )


def opened(stage):
    stage.open(SERVICES)
    return stage


def test_embed_makes_the_clap_token_and_the_stage_says_what_the_model_says(small):
    clap = ClapOptions(tokenizer=str(small.clap_tokenizer))
    embedded = opened(Embed(model=str(small.clap), clap=clap)).run(table())
    stage = opened(Caption(model=str(small.checkpoint), autocap=CaptionerOptions(bart=str(small.bart))))
    out = stage.run(embedded)
    texts = out.column("caption").to_pylist()
    assert texts[2] is None
    assert out.column("outcome").to_pylist() == [None, None, "failed", None]
    assert all(texts[row] for row in (0, 1, 3))
    assert out.column("caption_model")[0].as_py().startswith("autocap-full@")

    # With the CLAP named, the captioner knows whose embeddings they are, and takes them.
    named = CaptionerOptions(clap=str(small.clap), clap_options=clap, bart=str(small.bart))
    knowing = opened(Caption(model=str(small.checkpoint), autocap=named))
    assert knowing.run(embedded).column("caption").to_pylist() == texts
    assert load_captioner(str(small.checkpoint), options=named).clap_name == embedded.column("clap_model")[0].as_py()


def test_a_recipe_names_all_of_it(small):
    stage = build_stage(
        "caption",
        {
            "model": str(small.checkpoint),
            "beams": 3,
            "autocap": {"bart": str(small.bart), "tag_spacing": "kept", "long_clips": "join", "audio_tokens": 32},
        },
    )
    assert stage.autocap.audio_tokens == 32
    assert stage.autocap.long_clips == "join"
