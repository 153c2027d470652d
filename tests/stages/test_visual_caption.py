"""The visual caption stage with a tiny random BLIP: filled where there is nothing, and nothing else touched."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from corpus.schema import fields
from stages.base import Services, Stage
from stages.image_captioner import BLIP, load_image_captioner
from stages.images import open_image, to_jpeg
from stages.registry import StageError, build_stage
from stages.visual_caption import VisualCaption
from tests.small_blip import save_small_blip

SERVICES = Services(run_root="", cache_dir=Path())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_small_blip(tmp_path_factory.mktemp("models") / "tiny-blip"))


def opened(**options):
    stage = VisualCaption(**options)
    stage.open(SERVICES)
    return stage


def jpegs():
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 255, (90, 160, 3), dtype=np.uint8)) for _ in range(2)]
    return [to_jpeg(image, 384) for image in (Image.new("RGB", (64, 48), "red"), *noise)]


def clips(frames, captions=None):
    return pa.table(
        {
            "clip_id": [f"c{at}" for at in range(len(frames))],
            "video_caption": pa.array(captions or [None] * len(frames), type=pa.string()),
            "frame_jpeg": pa.array(frames, type=pa.binary()),
        }
    )


def column(table, name):
    return table.column(name).to_pylist()


def test_it_is_a_stage_whose_options_are_checked():
    assert isinstance(build_stage("visual_caption", {"model": "some/where"}), Stage)
    assert build_stage("visual_caption", {}).model == BLIP
    assert VisualCaption().needs().model
    for bad in ({"beams": 0}, {"max_tokens": 1000}, {"precision": "int8"}, {"prompt": "a photo of"}):
        with pytest.raises(StageError):
            build_stage("visual_caption", bad)


def test_a_clip_with_a_frame_gets_what_the_captioner_says(folder):
    stage, frames = opened(model=folder, beams=2, max_tokens=8), jpegs()
    out = stage.run(clips([frames[0], None, frames[1]]))
    captioner = load_image_captioner(folder)
    said = captioner.caption([open_image(frames[0]), open_image(frames[1])], beams=2, max_tokens=8)
    assert column(out, "video_caption") == [said[0], None, said[1]]
    assert column(out, "video_caption_model") == [captioner.name, None, captioner.name]
    assert out.schema.field("video_caption_model") == fields("video_caption_model").field(0)
    assert "outcome" not in out.column_names


def test_a_sources_own_visual_caption_is_never_overwritten(folder):
    out = opened(model=folder).run(clips([jpegs()[0]] * 3, ["a tap above a sink", "", None]))
    captions, models = column(out, "video_caption"), column(out, "video_caption_model")
    assert (captions[0], models[0]) == ("a tap above a sink", None)
    assert captions[1] == captions[2] != ""
    assert models[1] == models[2] is not None


def test_frames_that_cannot_be_opened_stay_without_words(folder):
    good = jpegs()[0]
    out = opened(model=folder).run(clips([b"", b"no picture", good[:100], good]))
    assert [caption is not None for caption in column(out, "video_caption")] == [False, False, False, True]
    assert [model is not None for model in column(out, "video_caption_model")] == [False, False, False, True]
    assert opened(model=folder).run(clips([])).num_rows == 0


def test_batches_change_nothing_and_a_thumbnail_is_looked_at_once(folder):
    frames = jpegs()
    table = clips([frames[0], frames[1], frames[0], frames[2], frames[0]])
    whole, small = opened(model=folder, batch=64), opened(model=folder, batch=1)
    assert whole.run(table).equals(small.run(table))
    small._ahead = True  # as beside a GPU
    assert whole.run(table).equals(small.run(table))
    looked_at = []
    prepare = small._captioner.prepare
    small._captioner.prepare = lambda images: looked_at.append(len(images)) or prepare(images)
    try:
        small.run(table)
    finally:
        small._captioner.prepare = prepare
    assert looked_at == [1, 1, 1]  # pictures, one at a time


def test_a_captioner_that_is_not_there_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="no image captioner under"):
        opened(model=str(tmp_path / "nowhere"))
