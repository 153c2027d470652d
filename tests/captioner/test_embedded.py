import json
import shutil

import numpy as np
import pytest

from captioner.embedded import EmbeddedCaptioner
from captioner.load import WEIGHTS, Metadata, load_captioner, model_name
from scorer.load import load_scorer
from scorer.weights import WeightsError


@pytest.fixture(scope="module")
def captioner():
    return load_captioner(scorer=load_scorer())


def tone(hz, seconds=10.0):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * 16000)) / 16000)).astype(np.float32)


def hiss(seconds=10.0):
    return np.random.default_rng(0).normal(0, 0.1, int(seconds * 16000)).astype(np.float32)


CLIPS = [tone(500), hiss(), tone(90, 3.0), hiss(0.01), np.zeros(16000, dtype=np.float32)]


def test_every_clip_gets_a_sentence(captioner):
    for said in captioner.caption(CLIPS):
        assert len(said.text.split()) >= 2
        assert said.text.isascii()
        assert said.logprob < 0
    assert captioner.caption([]) == []
    assert model_name(captioner).startswith("autorecap-captioner-small@")


def test_neighbours_change_nothing(captioner):
    told = [Metadata(title=f"clip {k}" * k, video_caption="a cat on a table" if k % 2 else "") for k in range(5)]
    together = captioner.caption(CLIPS, metadata=told)
    backwards = captioner.caption(CLIPS[::-1], metadata=told[::-1])[::-1]
    alone = [captioner.caption([clip], metadata=[m])[0] for clip, m in zip(CLIPS, told, strict=True)]
    assert together == backwards == alone


def test_batches_of_a_fixed_size_say_the_same(captioner):
    batched = EmbeddedCaptioner(WEIGHTS, batch=4)
    for one, other in zip(batched.caption(CLIPS), captioner.caption(CLIPS), strict=True):
        assert one.text == other.text
        assert abs(one.logprob - other.logprob) < 1e-3


def test_given_embeddings_are_the_ones_it_would_make(captioner):
    scorer = load_scorer()
    made = scorer.embed_audio(CLIPS[:2])
    assert captioner.caption(CLIPS[:2], clap_embeddings=made) == captioner.caption(CLIPS[:2])
    with pytest.raises(ValueError, match="clap_embeddings have shape"):
        captioner.caption(CLIPS[:2], clap_embeddings=made[:, :100])


def test_beams_and_metadata_are_used(captioner):
    assert captioner.caption(CLIPS[:2], beams=1) == captioner.caption(CLIPS[:2], beams=1)
    plain = captioner.caption([hiss()])[0]
    told = captioner.caption([hiss()], metadata=[Metadata(title="my dog", video_caption="a dog on the grass")])[0]
    assert plain != told
    with pytest.raises(ValueError, match="2 waves but 1 metadata"):
        captioner.caption(CLIPS[:2], metadata=[Metadata()])


def test_a_name_with_nothing_behind_it_says_what_there_is():
    with pytest.raises(ValueError, match="no captioner under 'autocap-full': give 'embedded', a checkpoint file"):
        load_captioner("autocap-full")


def test_the_shipped_folder_is_small_and_damage_is_refused(tmp_path):
    assert (WEIGHTS / "model.safetensors").stat().st_size < 20e6
    folder = shutil.copytree(WEIGHTS, tmp_path / "model")
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-2, 2)
        file.write(b"\xff\xff")
    with pytest.raises(WeightsError, match="its card says"):
        load_captioner(str(folder))


def test_another_audio_tower_is_refused(tmp_path):
    folder = shutil.copytree(WEIGHTS, tmp_path / "model")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"audio_tower_sha256": "0" * 64}))
    with pytest.raises(WeightsError, match="was trained on the audio tower 000000000000"):
        load_captioner(str(folder))
