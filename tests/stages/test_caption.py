from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from audio.codec import encode
from stages.base import Services, Stage
from stages.caption import Caption
from stages.embed import Embed
from stages.registry import build_stage

SERVICES = Services(run_root="", cache_dir=Path())


def flac(hz, seconds=2.0):
    wave = 0.4 * np.sin(2 * np.pi * hz * np.arange(int(seconds * 48_000)) / 48_000)
    return encode(wave.astype(np.float32), 48_000, "flac")


def clips(audios, titles=None, sights=None, descriptions=None):
    none = [None] * len(audios)
    return pa.table(
        {
            "clip_id": [f"c{k}" for k in range(len(audios))],
            "audio": pa.array(audios, type=pa.large_binary()),
            "title": pa.array(titles or none, type=pa.string()),
            "description": pa.array(descriptions or none, type=pa.string()),
            "video_caption": pa.array(sights or none, type=pa.string()),
        }
    )


def opened(stage):
    stage.open(SERVICES)
    return stage


@pytest.fixture(scope="module")
def embed():
    return opened(Embed())


def test_every_live_clip_gets_a_sentence(embed):
    out = opened(Caption()).run(embed.run(clips([flac(440), flac(90), None], ["my dog", None, "x"])))
    assert out.column("outcome").to_pylist() == [None, None, "failed"]
    texts = out.column("caption").to_pylist()
    assert texts[2] is None
    assert all(len(text.split()) > 1 for text in texts[:2])
    assert all(p < 0 for p in out.column("caption_logprob").to_pylist()[:2])
    assert out.column("caption_model").to_pylist()[0].startswith("autorecap-captioner-small@")


def test_order_batch_and_lent_embeddings_change_nothing(embed):
    table = clips([flac(150 * k, 1 + k / 2) for k in range(1, 5)], ["a", "b", None, "dog sound"])
    caption = opened(Caption())
    once = caption.run(embed.run(table)).column("caption").to_pylist()
    small = opened(Caption(batch=1))
    assert small.run(embed.run(table)).column("caption").to_pylist() == once
    backwards = table.take([3, 2, 1, 0])
    assert caption.run(embed.run(backwards)).column("caption").to_pylist()[::-1] == once
    foreign = embed.run(table)
    at = foreign.schema.get_field_index("clap_model")
    foreign = foreign.set_column(at, "clap_model", pa.array(["another@123"] * 4))
    assert caption.run(foreign).column("caption").to_pylist() == once


def test_titles_and_visual_captions_are_read_only_if_wanted(embed):
    bare, told = clips([flac(440)]), clips([flac(440)], ["my barking dog"], ["a dog on the grass"])
    deaf = opened(Caption(use_title=False, use_video_caption=False))
    same = ("caption", "caption_logprob")
    assert deaf.run(embed.run(told)).select(same).equals(deaf.run(embed.run(bare)).select(same))
    logprobs = [opened(Caption()).run(embed.run(t)).column("caption_logprob")[0].as_py() for t in (bare, told)]
    assert logprobs[0] != logprobs[1]


def test_a_description_reaches_the_captioner_only_if_the_recipe_asks():
    told = clips([b""], ["my dog"], ["a dog"], ["subscribe!"])
    assert Caption()._metadata(told, 0) == ("my dog", "", "a dog")
    assert Caption(use_description=True)._metadata(told, 0) == ("my dog", "subscribe!", "a dog")


def test_it_is_a_stage_whose_options_are_checked():
    assert isinstance(build_stage("caption", {"beams": 1}), Stage)
    with pytest.raises(Exception, match="beams"):
        build_stage("caption", {"beams": 9})
