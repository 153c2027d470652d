"""Encoding by the real parts at small size: a random VAE, the embedded scorer's text tower, shards of short sounds."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch

from corpus.store import Store
from genau.encode import ClipEncoder, EncodeOptions, ahead, encode_shard
from genau.encode_folder import begin, finish, jobs_of, record, refuse_other_models, refuse_unheard, request_of, to_do
from genau.mel import CLIP_SAMPLES, LogMel, levelled
from genau.vae import Vae, VaeShape
from generation.conditioners.load import load_conditioner
from generation.data import LOST, STRAY, Feed, find_corpora
from generation.data_recipe import Data, Filters
from generation.latent_numbers import gaussians, read_latent, stacked
from generation.latents import Latents
from tests.sound_shards import members, tone, write_corpus, write_tar
from training.errors import TrainError
from training.shards import find_shards, one_pass

CHANNELS, STEPS = 4, 256


class SmallCodec(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        shape = VaeShape(width=32, multipliers=(1, 1, 1), res_blocks=1, z_channels=8, latent_channels=CHANNELS)
        self.vae, self.log_mel = Vae(shape).eval(), LogMel()

    def encode(self, wave_BN):
        return self.vae.encode(self.log_mel(wave_BN).transpose(1, 2))


@pytest.fixture(scope="module")
def encoder():
    return ClipEncoder(SmallCodec(), load_conditioner(["embedded"]))


def encoded(encoder, tmp_path, *clips, **options):
    """The samples of one shard made of `clips`, and what was told of it."""
    write_tar(tmp_path / "in" / "0.tar", clips)
    (job,) = jobs_of([str(tmp_path / "in")])
    out = Store(tmp_path / "out")
    done = encode_shard(job.shard, out, job.path, encoder, EncodeOptions(**options))
    shards = find_shards([str(tmp_path / "out" / "train")], "train") if done.samples else None
    return list(one_pass(shards)) if shards else [], done


def array(sample, name):
    return np.load(io.BytesIO(sample[name]), allow_pickle=False)


def test_a_clip_becomes_its_gaussian_its_captions_vectors_and_its_record(encoder, tmp_path):
    wave = tone(440, 1.0)
    samples, done = encoded(encoder, tmp_path, members("a", ["one", "two"], wave, score=0.4, license="CC0"))
    (sample,) = samples
    whole = np.zeros((1, CLIP_SAMPLES), dtype=np.float32)
    heard = np.round(wave * 32768) / np.float32(32768)
    whole[0, : wave.size] = levelled(heard)
    with torch.no_grad():
        posterior = SmallCodec().encode(torch.from_numpy(whole))
    (mean, std), true = gaussians(*stacked([read_latent(sample["latent.npy"])])), posterior
    off = (mean - true.mean).square().mean(dim=2).sqrt() / true.mean.std(dim=2)
    assert float(off.max()) < 0.03  # a second of sound, nine of silence
    assert float((std / true.std).log().abs().max()) < 0.02
    text = array(sample, "text.npy")
    np.testing.assert_allclose(text, load_conditioner(["embedded"]).embed(["one", "two"]), atol=1e-3)
    told = json.loads(sample["json"])
    assert told == {
        "text": ["one", "two"], "dataset": "", "clap_score": 0.4, "duration_s": 1.0, "license": "CC0",
    }  # fmt: skip
    assert (done.clips, done.samples, done.skipped, done.audio_s) == (1, 1, {}, 1.0)


def test_float16_keeps_what_the_vae_said(encoder, tmp_path):
    clip = members("a")
    for name, options in (("small", {}), ("exact", {"numbers": "float16"})):
        encoded(encoder, tmp_path / name, clip, **options)
    small, exact = (
        next(one_pass(find_shards([str(tmp_path / name / "out/train")], "train"))) for name in ("small", "exact")
    )
    assert array(exact, "latent.npy").dtype == np.float16
    assert array(small, "latent.npy").dtype == np.uint8
    assert small["text.npy"] == exact["text.npy"]


def test_what_is_heard_lies_beside_what_is_read(encoder, tmp_path):
    wave = tone(440, 1.0)
    (sample,), _ = encoded(encoder, tmp_path, members("a", "one", wave), audio_vectors=True)
    heard = load_conditioner(["embedded"]).hear([levelled(np.round(wave * 32768) / np.float32(32768))], 16_000)
    np.testing.assert_allclose(array(sample, "audio.npy"), heard[0], atol=1e-3)


def test_a_clip_s_numbers_do_not_depend_on_its_neighbours(encoder, tmp_path):
    clips = [members(f"k{n}", f"clip {n}", tone(200 + 50 * n)) for n in range(6)]
    together, _ = encoded(encoder, tmp_path / "all", *clips)
    alone, _ = encoded(encoder, tmp_path / "one", clips[4])
    assert alone[0]["latent.npy"] == together[4]["latent.npy"]
    assert alone[0]["text.npy"] == together[4]["text.npy"]


def test_a_long_clip_becomes_windows_and_their_silence_goes(encoder, tmp_path):
    wave = np.concatenate([tone(300, 10.24), np.zeros(2 * 163_840, np.float32), tone(500, 5.0)])
    samples, done = encoded(encoder, tmp_path, members("a", "long", wave), dataset="ours")
    assert [sample["__key__"] for sample in samples] == ["a-w0", "a-w1", "a-w2"]  # of four
    assert all(json.loads(sample["json"])["dataset"] == "ours" for sample in samples)
    assert (done.clips, done.samples) == (1, 3)


def test_bad_clips_are_counted_by_reason(encoder, tmp_path):
    samples, done = encoded(
        encoder, tmp_path,
        members("good"), [("stray.flac", b"x")], members("zeros", wave=np.zeros(9000, np.float32)),
        members("long", "w" * 5000), members("low", score=0.1),
        [("broken.flac", b"fLaC"), ("broken.json", b'{"text": "x"}')],
        [("bare.json", b'{"text": "x"}')], [("void.json", b"{}")],
        filters=Filters(clap_min=0.3),
    )  # fmt: skip
    assert [sample["__key__"] for sample in samples] == ["good"]
    assert done.skipped == {
        STRAY: 1, "silent": 1, "caption_too_long": 1, "clap_below_min": 1, "no_clap_score": 2, "no_caption": 1,
    }  # fmt: skip


def test_half_a_character_is_no_caption_s_end(encoder, tmp_path):
    samples, _ = encoded(encoder, tmp_path, members("a", ["half \ud800", "雨"]))
    assert json.loads(samples[0]["json"])["text"] == ["half ?", "雨"]


def test_a_truncated_shard_gives_what_it_has_and_counts_the_rest(encoder, tmp_path):
    write_corpus(tmp_path / "in", shards=1)
    whole = (tmp_path / "in/00000.tar").read_bytes()
    (tmp_path / "in/00000.tar").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "in/sizes.json").write_text('{"00000.tar": 8}')
    (job,) = jobs_of([str(tmp_path / "in")])
    done = encode_shard(job.shard, Store(tmp_path / "out"), job.path, encoder, EncodeOptions())
    assert done.skipped[LOST] + done.samples == 8
    assert 0 < done.samples < 8


class _Broken(SmallCodec):
    def encode(self, wave_BN):
        posterior = super().encode(wave_BN)
        posterior.mean[:] = float("nan")
        return posterior


def test_numbers_that_are_none_are_not_written(tmp_path):
    samples, done = encoded(ClipEncoder(_Broken(), load_conditioner(["embedded"])), tmp_path, members("a"))
    assert (samples, done.skipped) == ([], {"latent_not_finite": 1})


def test_nothing_half_written_is_left_by_a_fault(encoder, tmp_path, monkeypatch):
    write_corpus(tmp_path / "in", shards=1, each=12)
    (job,) = jobs_of([str(tmp_path / "in")])
    calls = []

    def failing(waves):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return ClipEncoder.latents(encoder, waves)

    monkeypatch.setattr(encoder, "latents", failing)
    with pytest.raises(RuntimeError, match="out of memory"):
        encode_shard(job.shard, Store(tmp_path / "out"), job.path, encoder, EncodeOptions(threads=2))
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_an_export_keeps_its_splits_and_what_is_done_is_not_done_again(encoder, tmp_path):
    for split, shards in (("train", 2), ("valid", 1)):
        write_corpus(tmp_path / "in" / split, prefix=split[0], shards=shards, each=4)
    files = {f"{name}.tar": {"samples": 4} for name in ("train/00000", "train/00001", "valid/00000")}
    (tmp_path / "in/manifest.json").write_text(json.dumps({"files": files}))
    jobs, out = jobs_of([str(tmp_path / "in")]), Store(tmp_path / "out")
    assert [job.path for job in jobs] == ["train/00000.tar", "train/00001.tar", "valid/00000.tar"]
    request = request_of(jobs, {"vae": "x"})
    assert begin(out, request) is None
    record(out, encode_shard(jobs[0].shard, out, jobs[0].path, encoder, EncodeOptions()))
    encode_shard(jobs[1].shard, out, jobs[1].path, encoder, EncodeOptions())  # killed before it was noted
    assert begin(out, request) is None
    assert to_do(out, jobs) == jobs[1:]
    before = (tmp_path / "out/train/00001.tar").read_bytes()
    for job in jobs[1:]:
        record(out, encode_shard(job.shard, out, job.path, encoder, EncodeOptions()))
    assert (tmp_path / "out/train/00001.tar").read_bytes() == before
    manifest = finish(out, jobs, request)
    assert (manifest["clips"], manifest["samples"], len(manifest["files"])) == (12, 12, 3)
    assert not (tmp_path / "out/.unfinished").exists()
    assert begin(out, request) == manifest
    assert find_shards([str(tmp_path / "out")], "valid").clips == 4
    with pytest.raises(TrainError, match='holds other latents:\n  vae: there "x", asked "y"'):
        begin(out, request_of(jobs, {"vae": "y"}))


def test_latents_of_other_weights_are_not_trained_on(tmp_path):
    out = Store(tmp_path)
    made_with = {"vae": {"weights_sha256": "aa"}, "text": {"weights_sha256": "bb"}}
    finish(out, [], request_of([], made_with))
    refuse_other_models([str(tmp_path), str(tmp_path / "x.tar")], vae_sha256="aa", text_sha256="bb")
    with pytest.raises(TrainError, match=r"made with a vae of other weights \(aa\)"):
        refuse_other_models([str(tmp_path)], vae_sha256="cc", text_sha256="bb")
    with pytest.raises(TrainError, match="a text of other weights"):
        refuse_other_models([str(tmp_path)], vae_sha256="aa", text_sha256="cc")
    refuse_unheard([str(tmp_path / "x.tar")])
    with pytest.raises(TrainError, match="encode again with --audio-vectors"):
        refuse_unheard([str(tmp_path)])


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(TrainError, match="thesis"):
        begin(Store(tmp_path), {"kind": "x"})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_training_reads_what_was_encoded(encoder, tmp_path):
    clips = [members(f"k{n}", [f"clip {n}", f"also {n}"], tone(200 + 30 * n), score=n / 10) for n in range(9)]
    _, done = encoded(encoder, tmp_path, *clips)
    assert done.samples == 9
    place = {"shards": str(tmp_path / "out/train"), "dataset": "ours"}
    recipe = Data.model_validate(
        {"kind": "latents", "corpora": [place], "loader_workers": 0, "shuffle_clips": 4, "filters": {"clap_min": 0.25}}
    )
    width = encoder.conditioner.width
    feed = Feed(find_corpora(recipe), recipe, Latents(CHANNELS, STEPS, width, recipe.filters), batch_clips=4, seed=1)
    through = []
    for batch in feed.batches(None, rank=0, world=1):
        through.append(batch)
        if len(through) == 6:
            break
    clips = through[0].clips
    mean, std = clips.gaussians(torch.device("cpu"))
    assert mean.shape == std.shape == (4, CHANNELS, STEPS)
    assert clips.text.shape == (4, width)
    assert sum(batch.skipped.get("clap_below_min", 0) for batch in through) >= 6
    np.testing.assert_allclose(clips.text, encoder.conditioner.embed(clips.captions), atol=1e-3)
    again = next(feed.batches(through[2].place, rank=0, world=1)).clips
    assert again.captions == through[3].clips.captions
    assert (again.numbers == through[3].clips.numbers).all()


@pytest.mark.parametrize(
    ("shape", "reason"), [((8, STEPS, 384), "latent_of_another_shape"), ((CHANNELS, STEPS, 7), "text_of_another_shape")]
)
def test_latents_of_another_model_stop_with_a_word(encoder, tmp_path, shape, reason):
    encoded(encoder, tmp_path, members("a"))
    recipe = Data.model_validate(
        {"kind": "latents", "corpora": [{"shards": str(tmp_path / "out/train")}], "loader_workers": 0}
    )
    feed = Feed(find_corpora(recipe), recipe, Latents(*shape), batch_clips=1, seed=1)
    with pytest.raises(TrainError, match=reason):
        next(feed.batches(None, rank=0, world=1))


def test_work_ahead_comes_in_order_and_is_bounded():
    from concurrent.futures import ThreadPoolExecutor

    begun = []
    with ThreadPoolExecutor(3) as pool:
        coming = ahead(pool, lambda n: n * n, (begun.append(n) or n for n in range(50)), 5)
        assert next(coming) == 0
        assert len(begun) == 5
        assert list(coming) == [n * n for n in range(1, 50)]


def test_the_shard_s_bytes_depend_on_nothing_else(encoder, tmp_path):
    clips = [members(f"k{n}", f"clip {n}", tone(200 + 30 * n)) for n in range(5)]
    for name, threads in (("a", 1), ("b", 3)):
        encoded(encoder, tmp_path / name, *clips, threads=threads)
    one, two = ((tmp_path / name / "out/train/00000.tar").read_bytes() for name in "ab")
    assert one == two
    with tarfile.open(tmp_path / "a/out/train/00000.tar") as tar:
        assert tar.getnames()[:3] == ["k0.json", "k0.latent.npy", "k0.text.npy"]
