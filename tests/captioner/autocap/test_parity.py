"""Every boundary of the reference at full size, against vectors that its own code made (tests/data/autocap)."""

import numpy as np
import pytest
import torch
from torch.nn import functional as fn

from captioner.autocap.beam import beam_search
from captioner.autocap.decoder import Decoder
from captioner.autocap.frontend import ClapResampler, front_end, parts_of
from captioner.autocap.train_lesson import Lesson, Prepared
from captioner.autocap.train_recipe import TrainRecipe
from scorer.clap import Projection
from scorer.clap_mel import LogMel, laion_front_end
from scorer.clap_weights import shape_of
from scorer.htsat import Htsat
from tests import autocap_fill as formula

CLIPS = ("c10", "c4")


@pytest.fixture(scope="module")
def golden():
    with formula.golden() as vectors:
        yield vectors


@pytest.fixture(scope="module")
def net():
    return formula.full_net()


@pytest.fixture(scope="module")
def decoder(net):
    return Decoder(net.decoder)


@pytest.fixture(scope="module")
def clap():
    """CLAP's audio side: 48 kHz waves (B, N) -> (B, 512)."""
    state = formula.clap_audio_state()
    audio = {n.removeprefix("audio_branch."): v for n, v in state.items() if n.startswith("audio_branch.")}
    tower = Htsat(shape_of(audio)).eval()
    assert not tower.load_state_dict(audio, strict=False).unexpected_keys
    tower.prepare()
    projection = Projection(1024, 512)
    names = (("0", "linear1"), ("2", "linear2"))
    projection.load_state_dict(
        {f"{ours}.{k}": state[f"audio_projection.{at}.{k}"] for at, ours in names for k in ("weight", "bias")}
    )
    log_mel = LogMel(laion_front_end(fusion=False))
    return lambda waves: fn.normalize(projection(tower(log_mel(waves)[:, None]).mean(dim=1)), dim=-1)


@pytest.fixture(scope="module")
def run(net, clap):
    """All boundaries of a clip, by the names of the golden vectors, each computed once."""
    seen = {}

    def of(clip):
        if clip not in seen:
            with torch.inference_mode():
                seen[clip] = boundaries(net, clap, clip)
        return seen[clip]

    return of


def boundaries(net, clap, clip):
    wave = torch.from_numpy(parts_of(formula.WAVES[clip], every=False)[0])[None]
    found, hooks = {"wave": wave}, []

    def keep(module, name, take):
        hooks.append(module.register_forward_hook(lambda m, i, o: found.__setitem__(name, take(o).detach().clone())))

    tower, bart, bert = net.tower, net.decoder.model, net.audio_Qformer.bert
    keep(tower.bn0, "bn0", lambda o: o[:, :, ::50, 0])
    keep(tower.patch_embed, "patch", lambda o: o.flatten(1, 2)[:, ::256, :8])
    for at, (stage, step) in enumerate(zip(tower.layers, (64, 16, 4, 4), strict=True)):
        keep(stage, f"stage{at}", lambda o, step=step: o.flatten(1, 2)[:, ::step, :8])
    keep(tower.norm, "swin_norm", lambda o: o.flatten(1, 2)[:, ::4, :8])
    keep(net.audio_Qfromer_layernorm_embedding, "qf_ln", lambda o: o[:, ::32, :16])
    keep(bert.embeddings["LayerNorm"], "qf_emb", lambda o: o[:, ::16, :16])
    for at, layer in enumerate(bert.encoder["layer"]):
        keep(layer, f"qf_layer{at}", lambda o: o[:, ::8, :16])
    keep(net.audio_Qformer, "qf_out", lambda o: o[:, ::8, :32])
    keep(bart.encoder.layernorm_embedding, "bart_ln_emb", lambda o: o[:, ::4, :8])
    for at, layer in enumerate(bart.encoder.layers):
        keep(layer, f"bart_enc_layer{at}", lambda o: (o[0] if isinstance(o, tuple) else o)[:, ::16, :8])

    mel = LogMel(front_end())(wave)
    heard = net.hear(mel)
    audio = net.query(heard)
    resampled = ClapResampler()(wave)
    embedding = clap(resampled)
    token = net.clap_token(embedding)
    inputs, mask = net.bart_input(audio, [formula.METADATA[clip]], token)
    states = net.understand(inputs, mask)
    logits = net.logits(states, mask, torch.tensor([formula.DEC_IN]))
    for hook in hooks:
        hook.remove()
    folded = tower.fold(tower.bn0(mel[:, None].transpose(1, 3)).transpose(1, 3))
    found |= {
        "logmel": mel[:, ::50], "img": folded[:, 0, ::16, ::16],
        "htsat": heard.repeat_interleave(32, dim=1)[:, ::16, :16],
        "enc_to_dec": net.enc_to_dec_proj(heard).repeat_interleave(32, dim=1)[:, ::32, :16],
        "qf_proj": audio[:, ::8, :32], "clap_wave": resampled[:, :400], "clap_embed": embedding,
        "clap_proj": net.clap_proj(embedding), "clap_ln": token[:, 0], "bart_in": inputs[:, ::4, :16],
        "bart_enc": states[:, :, :8], "logits_first1024": logits[:, :, :1024],
        "logits_lse": logits.logsumexp(dim=2), "logits_std": logits.std(dim=2),
    }  # fmt: skip
    whole = {"audio": audio, "clap": token, "states": states, "mask": mask, "logits": logits}
    return found | {f"whole.{name}": value for name, value in whole.items()}


def test_the_formula_fills_as_the_reference_was_filled(golden):
    for name in golden.files:
        if name.startswith("fill.") and not name.endswith(".shape"):
            key = name.removeprefix("fill.")
            found = formula.fill(key, formula.shapes()[key]).flatten()[:8]
            np.testing.assert_array_equal(found.numpy(), golden[name])


def test_constants(golden):
    np.testing.assert_allclose(front_end().mel_filters[::4], golden["const.melW"], atol=1e-7)
    np.testing.assert_allclose(ClapResampler().kernel.numpy(), golden["const.resampler_kernel"], atol=1e-7)


@pytest.mark.parametrize(("clip", "name"), [("c10", "wave10"), ("c4", "wave4p3")])
def test_clips_are_levelled_and_filled_as_there(golden, clip, name):
    raw, levelled = formula.WAVES[clip], parts_of(formula.WAVES[clip], every=False)[0]
    np.testing.assert_allclose(raw[:2000], golden[f"{name}_raw"], atol=1e-6)
    np.testing.assert_allclose(levelled[:2000], golden[f"{name}_pre"], atol=1e-6)
    assert levelled.shape == (320_000,)


STAGES = (
    "bn0", "img", "patch", "stage0", "stage1", "stage2", "stage3", "swin_norm", "htsat", "enc_to_dec", "qf_ln",
    "qf_emb", "qf_layer0", "qf_layer1", "qf_out", "qf_proj", "clap_wave", "clap_embed", "clap_proj", "clap_ln",
    "bart_in", "bart_ln_emb", "bart_enc_layer0", "bart_enc_layer1", "bart_enc_layer2", "bart_enc_layer3",
    "bart_enc_layer4", "bart_enc_layer5", "bart_enc", "logits_first1024", "logits_lse", "logits_std",
)  # fmt: skip


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("name", ["logmel", *STAGES])
def test_boundary(golden, run, clip, name):
    found, wanted = run(clip)[name].numpy(), golden[f"{clip}.{name}"]
    assert found.size == wanted.size
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=1e-3 if name == "logmel" else 1e-4, rtol=0)


@pytest.mark.parametrize("clip", CLIPS)
def test_masks_and_likeliest_words(golden, run, clip):
    found = run(clip)
    np.testing.assert_array_equal(found["whole.mask"].numpy(), golden[f"{clip}.bart_mask"])
    np.testing.assert_array_equal(found["whole.logits"].argmax(dim=2).numpy(), golden[f"{clip}.logits_argmax"])


@pytest.mark.parametrize("beams", [1, 2, 3, 4])
@pytest.mark.parametrize("clip", CLIPS)
def test_ids(golden, decoder, run, clip, beams):
    found = run(clip)
    ids, _ = beam_search(decoder, found["whole.states"], found["whole.mask"], beams)
    np.testing.assert_array_equal(ids.numpy(), golden[f"{clip}.ids_beam{beams}"])


@pytest.fixture(scope="module")
def batch(net, run):
    """Both clips in one pass, the second filled up."""
    both = [run(clip) for clip in CLIPS]
    with torch.inference_mode():
        audio = torch.cat([b["whole.audio"] for b in both])
        clap = torch.cat([b["whole.clap"] for b in both])
        inputs, mask = net.bart_input(audio, [formula.METADATA[clip] for clip in CLIPS], clap)
        return inputs, mask, net.understand(inputs, mask)


def test_batch(golden, batch):
    inputs, mask, states = batch
    np.testing.assert_allclose(inputs[:, ::4, :16].numpy(), golden["batch.bart_in"], atol=1e-4)
    np.testing.assert_array_equal(mask.numpy(), golden["batch.bart_mask"])
    heard = mask.numpy()[..., None] == 1
    np.testing.assert_allclose(states[:, :, :8].numpy() * heard, golden["batch.bart_enc"] * heard, atol=1e-4)


@pytest.mark.parametrize("beams", [1, 2, 3, 4])
def test_ids_in_a_batch(golden, decoder, batch, beams):
    _, mask, states = batch
    ids, _ = beam_search(decoder, states, mask, beams)
    np.testing.assert_array_equal(ids.numpy(), golden[f"batch.ids_beam{beams}"])


@pytest.mark.parametrize(
    ("name", "ids", "with_clap"), [("c10_nometa", None, True), ("c10_noclap", [formula.METADATA["c10"]], False)]
)
def test_without_metadata_and_without_clap(golden, net, decoder, run, name, ids, with_clap):
    found = run("c10")
    with torch.inference_mode():
        clap = found["whole.clap"] if with_clap else None
        inputs, mask = net.bart_input(found["whole.audio"], ids, clap)
        states = net.understand(inputs, mask)
        logits = net.logits(states, mask, torch.tensor([formula.DEC_IN]))
    np.testing.assert_array_equal(mask.numpy(), golden[f"{name}.bart_mask"])
    np.testing.assert_allclose(states[:, :, :8].numpy(), golden[f"{name}.bart_enc"], atol=1e-4)
    np.testing.assert_allclose(logits[:, :, :1024].numpy(), golden[f"{name}.logits_first1024"], atol=1e-4)
    for beams in (1, 2):
        found_ids, _ = beam_search(decoder, states, mask, beams)
        np.testing.assert_array_equal(found_ids.numpy(), golden[f"{name}.ids_beam{beams}"])


def test_training_loss(golden, net):
    """As the released code trains: the CLAP token joined behind BART's encoder, labels smoothed by 0.1."""
    changes = {"clap": {"position": "decoder"}, "augment": {"mix": 0}, "optimizer": {"peak_rate": 1e-4, "epochs": 20}}
    recipe = TrainRecipe.model_validate({"name": "golden", "data": {"shards": ["none"]}, **changes})
    captions = ([250, 313, 6823, 25, 3930, 8, 2345, 10745, 4], [250, 2335, 21836, 8, 10, 512, 13415, 13, 6])
    clap = np.concatenate([golden[f"{clip}.clap_embed"] for clip in CLIPS]).astype(np.float32)
    batch = Prepared(
        waves=torch.from_numpy(np.stack([parts_of(formula.WAVES[clip], every=False)[0] for clip in CLIPS])),
        clap=torch.from_numpy(clap),
        metadata=[formula.METADATA[clip] for clip in CLIPS],
        labels=torch.tensor([[0, *ids, 2] for ids in captions]),
        tokens=22,
    )
    with torch.inference_mode():
        lesson = Lesson(net, None, recipe).eval()
        _, mask = lesson.states(batch)
        loss = float(lesson(batch)) / batch.tokens
    np.testing.assert_array_equal(mask.numpy(), golden["train.attn_mask"])
    assert loss == pytest.approx(float(golden["train.loss"]), abs=1e-5)
    assert loss == pytest.approx(11.443130, abs=1e-5)
