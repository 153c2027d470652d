"""Image captioners as transformers saves them, tiny and random: the library's own captions, and clear refusals."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from stages.image_captioner import ImageCaptionerError, load_image_captioner
from tests.small_blip import SIDE_PX, WORDS, save_small_blip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_small_blip(tmp_path_factory.mktemp("models") / "tiny-blip")


@pytest.fixture(scope="module")
def captioner(folder):
    return load_image_captioner(str(folder))


def pictures():
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 255, (90, 160, 3), dtype=np.uint8)) for _ in range(3)]
    return [Image.new("RGB", (64, 48), colour) for colour in ("red", "green", "blue", "white")] + noise


def test_captions_are_those_of_transformers_own_way(folder, captioner):
    from transformers import BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

    model = BlipForConditionalGeneration.from_pretrained(folder).eval()
    processor = BlipProcessor.from_pretrained(folder)
    assert isinstance(processor.image_processor, BlipImageProcessor)
    ours = captioner.caption(pictures(), beams=3, max_tokens=12)
    for image, text in zip(pictures(), ours, strict=True):
        with torch.inference_mode():
            ids = model.generate(**processor(images=image, return_tensors="pt"), num_beams=3, max_new_tokens=12)
        assert text == processor.decode(ids[0], skip_special_tokens=True)
    assert set(" ".join(ours).split()) <= set(WORDS)
    assert len(set(ours)) >= 5
    assert captioner.caption(pictures(), beams=3, max_tokens=12) == ours
    assert captioner.caption([]) == []


def test_pictures_are_prepared_as_blip_wants_them(folder, captioner):
    from transformers import BlipProcessor

    pixels = captioner.prepare(pictures())
    assert pixels.shape == (7, 3, SIDE_PX, SIDE_PX)
    assert pixels.dtype == torch.uint8
    theirs = BlipProcessor.from_pretrained(folder)(images=pictures(), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(captioner._normalised(pixels), theirs, rtol=0, atol=2e-6)
    white = (1 - np.array([0.48145466, 0.4578275, 0.40821073])) / np.array([0.26862954, 0.26130258, 0.27577711])
    np.testing.assert_allclose(theirs[3].mean(dim=(1, 2)).numpy(), white, rtol=1e-4)


def test_the_name_tells_weights_apart(folder, captioner, tmp_path):
    other = load_image_captioner(str(save_small_blip(tmp_path / "tiny-blip", seed=1)))
    assert captioner.name.startswith("tiny-blip@")
    assert other.name.split("@")[0] == "tiny-blip"
    assert other.name != captioner.name
    assert load_image_captioner(str(folder), weights_sha256=captioner.weights_sha256[:16]).name == captioner.name
    with pytest.raises(ImageCaptionerError, match="another file, or a damaged one"):
        load_image_captioner(str(folder), weights_sha256=other.weights_sha256)
    with pytest.raises(ImageCaptionerError, match="12 digits"):
        load_image_captioner(str(folder), weights_sha256="abc")


def test_bfloat16_is_a_choice_on_a_cpu(folder):
    captioner = load_image_captioner(str(folder), precision="bfloat16")
    assert captioner._model.dtype == torch.bfloat16
    assert all(captioner.caption(pictures(), max_tokens=6))


def test_what_is_no_image_captioner_is_refused_with_what_to_do(folder, tmp_path):
    from transformers import BertConfig, BertForMaskedLM

    with pytest.raises(ImageCaptionerError, match="no image captioner under"):
        load_image_captioner(str(tmp_path / "nowhere"))
    narrow = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertForMaskedLM(BertConfig(vocab_size=20, **narrow)).save_pretrained(tmp_path / "bert")
    with pytest.raises(ImageCaptionerError, match="is a bert"):
        load_image_captioner(str(tmp_path / "bert"))
    for missing, said in (("model.safetensors", "no weight file"), ("tokenizer.json", "the tokenizer beside it")):
        shutil.copytree(folder, tmp_path / missing)
        (tmp_path / missing / missing).unlink()
        with pytest.raises(ImageCaptionerError, match=said):
            load_image_captioner(str(tmp_path / missing))
    shutil.copytree(folder, tmp_path / "cut")
    weights = (tmp_path / "cut" / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ImageCaptionerError):
        load_image_captioner(str(tmp_path / "cut"))


def test_a_pickle_that_would_run_code_is_refused(folder, tmp_path):
    import os
    import pickle

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    bad = tmp_path / "bad"
    shutil.copytree(folder, bad)
    (bad / "model.safetensors").unlink()
    (bad / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ImageCaptionerError):
        load_image_captioner(str(bad))
    assert not (tmp_path / "owned").exists()


def test_a_checkpoint_of_another_size_is_refused(folder, tmp_path):
    """transformers would fill what is missing with chance and go on."""
    from safetensors.torch import load_file, save_file

    lacking = tmp_path / "lacking"
    shutil.copytree(folder, lacking)
    state = load_file(lacking / "model.safetensors")
    gone = next(name for name in state if "vision_model.encoder.layers.1" in name)
    del state[gone]
    save_file(state, lacking / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ImageCaptionerError, match=r"layers\.1"):
        load_image_captioner(str(lacking))


def test_other_families_that_need_no_prompt_caption_too(folder, tmp_path):
    from transformers import GitConfig, GitForCausalLM

    narrow = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    special = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    torch.manual_seed(0)
    config = GitConfig(
        vision_config={**narrow, "image_size": SIDE_PX, "patch_size": 8},
        **{**narrow, **special, "vocab_size": 5 + len(WORDS), "max_position_embeddings": 64},
    )
    GitForCausalLM(config).save_pretrained(tmp_path / "git")
    for path in folder.iterdir():
        if path.name.startswith(("tokenizer", "processor")):
            shutil.copy(path, tmp_path / "git")
    captioner = load_image_captioner(str(tmp_path / "git"))
    assert captioner.name.startswith("git@")
    assert len(captioner.caption(pictures(), max_tokens=5)) == len(pictures())
