"""Published layouts load by name; what does not fit is told by name; what is no checkpoint is refused."""

import os
import re

import numpy as np
import pytest
import torch

from genau.card import ConditionerCard, GenauCard, VaeRef, write_folder
from genau.checkpoint import build_fit, build_vae, build_vocoder, read_fit, read_vae, read_vocoder
from genau.fit import Fit, FitShape, shape_of
from genau.vocoder import fold_weight_norm
from scorer.weights import WeightsError
from tests.genau_files import SIZES, genau_state, lightning, vae_state, vocoder_factors
from tests.genau_fill import fill, golden, mel, normals, one_hot, shapes, state


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=0)


def test_a_published_file_gives_the_references_noise(tmp_path):
    found = read_fit(lightning(tmp_path / "genau.ckpt", genau_state()), sizes=SIZES)
    assert (found.card.scale_factor, found.averaged, found.published, found.notes) == (1.25, False, True, ())
    assert (found.card.datasets["autocap"], found.card.unconditional, found.card.dataset) == (9, 0, "audiocaps")
    parity = golden("fit_small")
    with torch.no_grad():
        noise, _ = build_fit(found)(
            normals("x_t", (2, 16, 64, 1))[..., 0],
            torch.from_numpy(parity["t"]),
            normals("text", (2, 48), 0.1),
            one_hot([0, 9]),
        )
    np.testing.assert_allclose(noise[..., None].numpy(), parity["eps"], atol=1e-5)


@pytest.mark.parametrize(("averaged", "times"), [("auto", 2), ("ema", 2), ("raw", 1)])
def test_averaged_weights_are_found_by_their_names_without_dots(tmp_path, averaged, times):
    found = read_fit(lightning(tmp_path / "genau.ckpt", genau_state(ema=True)), sizes=SIZES, averaged=averaged)
    raw = state("fit_small")
    same(found.state, {name: value if name.endswith(".beta") else times * value for name, value in raw.items()})
    assert found.averaged == (times == 2)


def test_averaged_weights_that_are_wanted_and_not_there_are_told(tmp_path):
    path = lightning(tmp_path / "genau.ckpt", genau_state())
    with pytest.raises(WeightsError, match="no averaged weights"):
        read_fit(path, sizes=SIZES, averaged="ema")
    tensors = genau_state(ema=True)
    del tensors["model_ema.diffusion_modellatents"]
    with pytest.raises(WeightsError, match="averaged weights do not fit: latents is missing"):
        read_fit(lightning(path, tensors), sizes=SIZES)


@pytest.mark.parametrize("name", ["fit_s", "fit_l", "fit_yaml"])
def test_every_name_of_the_large_ones_is_read_and_asked_for(tmp_path, name):
    """At their names and counts, with the widths of a small one."""
    wanted = shapes(name)
    large = shape_of({key: torch.empty(size, device="meta") for key, size in wanted.items()})
    narrow = FitShape(
        channels=4, steps=32, group=8, patch_width=32, latent_width=32, latents=16, context_width=32, text_width=8,
        head_width=16, blocks=large.blocks, local_layers=large.local_layers, global_layers=large.global_layers,
    )  # fmt: skip
    fit = {key: fill(key, tuple(value.shape)) for key, value in Fit(narrow).state_dict().items()}
    assert fit.keys() == wanted.keys()
    path = lightning(tmp_path / "large.ckpt", genau_state(fit, ema=True))
    found = read_fit(path, sizes={"patch": 1, "group": 8, "head_width": 16}, averaged="raw")
    same(dict(build_fit(found).state_dict()), fit)
    assert read_fit(path, sizes={"patch": 1, "group": 8, "head_width": 16}).averaged


def test_the_yaml_beside_it_says_what_shapes_cannot(tmp_path):
    path = lightning(tmp_path / "small.ckpt", genau_state())
    (tmp_path / "small.yaml").write_text(CONFIG)
    found = read_fit(path)
    assert found.card.shape == shape_of(state("fit_small"), **SIZES)
    assert (found.card.datasets, found.card.unconditional) == ({"audiocaps": 0, "rain": 4}, 0)
    assert not (tmp_path / "ran").exists()


CONFIG = """
variables: {lr: &lr 5.0e-3}
model:
  params:
    optimizer_config: {target: !module os.system, lr: *lr, other: !include /etc/hostname}
    linear_start: 0.0015
    linear_end: 0.0195
    parameterization: eps
    backbone_type: fit
    unet_config:
      params:
        patch_size: [1, 1, 1]
        group_size: [1, 16, 1]
        fit_block_config:
          attention_class: !module src.modules.fit.layers.rin_layers.Attention
          default_attention_config: {heads: 4, dim_head: 32}
          global_attention_config: {heads: 6, dim_head: 32}
    cond_stage_config:
      noncond_dataset_ids: {params: {dataset2id: {audiocaps: 0, rain: 4, unconditional: 0}}}
"""


@pytest.mark.parametrize(
    ("found", "put", "told"),
    [
        ("dim_head: 32}\n    cond", "dim_head: 64}\n    cond", r"several widths \(\[32, 64\]\)"),
        ("parameterization: eps", "parameterization: v", "parameterization is 'v', wanted 'eps'"),
        ("patch_size: [1, 1, 1]", "patch_size: [2, 1, 1]", r"patch_size must be \[1, N, 1\]"),
        ("linear_start: 0.0015", "linear_start: 0.001", "noise schedule is another than its configuration's"),
        ("linear_start: 0.0015", "linear_start: !!python/object/apply:os.mkdir [ran]", "is no YAML: could not determ"),
        ("model:", "other:", "has no model.params"),
        ("group_size: [1, 16, 1]", "group_size: [1, 24, 1]", "patches 64 is no multiple of group 24"),
    ],
)
def test_a_yaml_of_another_model_is_refused(tmp_path, monkeypatch, found, put, told):
    monkeypatch.chdir(tmp_path)
    assert found in CONFIG
    (tmp_path / "small.yaml").write_text(CONFIG.replace(found, put))
    with pytest.raises(WeightsError, match=told):
        read_fit(lightning(tmp_path / "small.ckpt", genau_state()))
    assert not (tmp_path / "ran").exists()


def test_each_missing_unknown_and_misshapen_name_is_told(tmp_path):
    tensors = genau_state()
    gone = [
        "model.diffusion_model.blocks.1.patches_cross_attn_ff.net.0.bias",
        "model.diffusion_model.to_patches.1.bias",
    ]
    for name in gone:
        del tensors[name]
    tensors["model.diffusion_model.class_labels.weight"] = torch.zeros(2)
    tensors["model.diffusion_model.time_mlp.1.bias"] = torch.zeros(3)
    tensors["unheard.of"] = torch.zeros(1)
    found = read_fit(lightning(tmp_path / "genau.ckpt", tensors), sizes=SIZES)
    assert found.notes == ("left alone, names that are not known: unheard.of",)
    with pytest.raises(WeightsError) as refused:
        build_fit(found)
    for name in (*gone, "model.diffusion_model.class_labels.weight"):
        assert name.removeprefix("model.diffusion_model.") in str(refused.value)
    assert "time_mlp.1.bias has shape (3,), wanted (512,)" in str(refused.value)


def test_the_vae_and_its_fused_vocoder_are_found_inside_and_in_their_own_file(tmp_path):
    fused = fold_weight_norm(vocoder_factors())
    whole = vae_state(fused)
    inside = read_fit(lightning(tmp_path / "genau.ckpt", genau_state(vae=whole)), sizes=SIZES)
    same(inside.vocoder, fused)
    for own, vocoder in (
        (inside.vae, inside.vocoder),
        (lambda one: (one.state, one.vocoder))(read_vae(lightning(tmp_path / "vae.ckpt", whole))),
        (lambda one: (one.state, one.vocoder))(read_vae(tmp_path / "genau.ckpt")),
    ):
        same(own, state("vae_small"))
        posterior = build_vae(own, "the VAE").encode(mel(64))
        np.testing.assert_allclose(posterior.mean.numpy(), golden("vae_small")["mean"][..., 0], atol=1e-5)
        sound = build_vocoder(vocoder, "the vocoder")(mel(32))
        np.testing.assert_allclose(sound.numpy(), golden("vocoder_small")["wave"][:, 0], atol=1e-4)


def test_a_vocoders_file_has_weight_norms_factors_and_a_compiled_models_names(tmp_path):
    factors = {f"_orig_mod.{name}": value for name, value in vocoder_factors().items()}
    torch.save({"generator": factors}, tmp_path / "hifigan.ckpt")
    tensors, sha256 = read_vocoder(tmp_path / "hifigan.ckpt")
    assert re.fullmatch("[0-9a-f]{64}", sha256)
    sound = build_vocoder(tensors, "the vocoder")(mel(32))
    np.testing.assert_allclose(sound.numpy(), golden("vocoder_small")["wave"][:, 0], atol=1e-4)


def test_a_folder_of_ours_is_read(tmp_path):
    weights = state("fit_small")
    card = GenauCard(
        model_id="rain",
        shape=shape_of(weights, **SIZES),
        scale_factor=0.5,
        conditioners=(ConditionerCard(name="embedded", width=48, weights_sha256="a" * 64),),
        vae=VaeRef(model="embedded", weights_sha256=""),
    )
    written = write_folder(tmp_path / "rain", weights, card)
    for path in (tmp_path / "rain", tmp_path / "rain" / "card.json"):
        found = read_fit(path)
        assert (found.card, found.published) == (written, False)
        same(found.state, weights)
    with pytest.raises(WeightsError, match="its card says what it is"):
        read_fit(tmp_path / "rain", averaged="ema")


class Harm:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def foreign(path):
    return lightning(path, {"encoder.layer.0.weight": torch.zeros(2), "head.bias": torch.zeros(1)})


def unet(path):
    return lightning(path, {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(2)})


def truncated(path):
    lightning(path, genau_state())
    path.write_bytes(path.read_bytes()[:5000])
    return path


def harmful(path):
    torch.save({"state_dict": genau_state(), "callbacks": Harm()}, path)
    return path


def empty(path):
    path.write_bytes(b"")
    return path


def hear_vocoder(path):
    return build_vocoder(read_vocoder(path)[0], str(path))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (foreign, "no GenAU checkpoint: no FIT .* its names begin with encoder, head"),
        (unet, "no GenAU checkpoint: no FIT .* its names begin with input_blocks"),
        (truncated, "cannot be read as a checkpoint|is no checkpoint"),
        (harmful, "is refused: it holds more than weights"),
        (empty, "cannot be read as a checkpoint|is no checkpoint"),
        (lambda path: path, "there is no file"),
    ],
)
@pytest.mark.parametrize("read", [read_fit, read_vae, hear_vocoder])
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path, monkeypatch, make, told, read):
    monkeypatch.chdir(tmp_path)
    path = make(tmp_path / "some.ckpt")
    if read is not read_fit and make in (foreign, unet):
        told = "no VAE of GenAU's.*its names begin with|no HiFi-GAN"
    with pytest.raises(WeightsError, match=told) as refused:
        read(path)
    assert "\n" not in str(refused.value)
    assert "some.ckpt" in str(refused.value)
    assert not (tmp_path / "ran").exists()


def test_a_file_of_another_size_is_told_by_name(tmp_path):
    tensors = genau_state()
    tensors["model.diffusion_model.latents"] = torch.zeros(33, 192)
    with pytest.raises(WeightsError, match="latents 33 is no multiple of groups 4"):
        read_fit(lightning(tmp_path / "genau.ckpt", tensors), sizes=SIZES)
    del tensors["model.diffusion_model.latents"]
    with pytest.raises(WeightsError, match="sizes cannot be read: 'latents' is missing"):
        read_fit(lightning(tmp_path / "genau.ckpt", tensors), sizes=SIZES)
