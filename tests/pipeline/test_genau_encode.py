"""`autorecap genau encode` on two Ray actors, with a small random VAE's folder: killed, gone on with, and read."""

import json
import os
import shutil

import pytest
import torch
from click.testing import CliRunner

from genau.card import VaeCard, write_folder
from genau.vae import Vae, VaeShape
from tests.small_t5 import save_t5
from tests.sound_shards import write_corpus
from training.shards import find_shards

SHAPE = VaeShape(width=32, multipliers=(1, 1, 1), res_blocks=1, z_channels=8, latent_channels=4)


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vae") / "small"
    write_folder(folder, Vae(SHAPE).state_dict(), VaeCard(model_id="small", shape=SHAPE))
    return str(folder)


@pytest.fixture(scope="module")
def ray(request):
    """One Ray for the file: the verb would start and stop its own each time."""
    import ray

    from pipeline import engine

    engine.ensure_ray(None, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "stop_ray", lambda: None)
        yield
    ray.shutdown()


def run(*words):
    from pipeline.cli import main

    return CliRunner().invoke(main, ["genau", "encode", *map(str, words)], catch_exceptions=False)


def test_two_actors_write_what_one_process_writes(tmp_path, vae, ray):
    source = write_corpus(tmp_path / "in", shards=3, each=4)
    done = run(source, "--out", tmp_path / "two", "--vae", vae, "--workers", 2)
    assert done.exit_code == 0, done.output
    assert "written: 12 latents of 12 clips" in done.output
    assert run(source, "--out", tmp_path / "one", "--vae", vae, "--workers", 0).exit_code == 0
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("two", "one")]
    assert manifests[0] == manifests[1]
    assert manifests[0]["request"]["text"]["encoders"] == ["embedded"]
    assert (manifests[0]["request"]["numbers"], manifests[0]["request"]["audio_vectors"]) == ("bytes", False)
    assert len(manifests[0]["request"]["vae"]["weights_sha256"]) == 64
    assert find_shards([str(tmp_path / "two")], "train").clips == 12


def test_it_goes_on_where_it_was_killed(tmp_path, vae):
    source = write_corpus(tmp_path / "in", shards=3, each=4)
    out = tmp_path / "out"
    words = (source, "--out", out, "--vae", vae, "--workers", 0, "--dataset", "ours")
    assert run(*words).exit_code == 0
    again = run(*words)
    assert "was there already: 12 latents" in again.output
    # As a kill leaves it: two shards done, one half written, no manifest.
    manifest = json.loads((out / "manifest.json").read_text())
    for path in ("train/00000.tar", "train/00002.tar"):
        about = manifest["files"][path]
        part = out / ".unfinished" / f"{path}.json"
        part.parent.mkdir(parents=True, exist_ok=True)
        told = {"path": path, "clips": 4, "samples": 4, "skipped": {}, "audio_s": 2.0}
        part.write_text(json.dumps(told | {"bytes": about["bytes"], "sha256": about["sha256"]}))
    (out / ".unfinished/request.json").write_text(json.dumps(manifest["request"]))
    shutil.move(out / "train/00001.tar", out / "train/.tmp-half")
    (out / "manifest.json").unlink()
    before = {name: os.stat(out / "train" / name).st_mtime_ns for name in ("00000.tar", "00002.tar")}
    assert run(*words).exit_code == 0
    assert json.loads((out / "manifest.json").read_text()) == manifest
    assert {name: os.stat(out / "train" / name).st_mtime_ns for name in before} == before
    assert sorted(os.listdir(out / "train")) == ["00000.tar", "00001.tar", "00002.tar"]


def test_what_cannot_be_is_told_in_a_sentence(tmp_path, vae):
    source, t5 = write_corpus(tmp_path / "in", shards=1, each=2), f"t5:{save_t5(tmp_path / 't5')}"
    assert run(source, "--out", tmp_path / "out", "--vae", vae, "--workers", 0).exit_code == 0
    for words, said in (
        (["--vae", "nowhere"], "nowhere"),
        (["--vae", vae, "--text", "bert"], "no text encoder is called 'bert'"),
        (["--vae", vae, "--text", t5, "--audio-vectors"], "only reads; name a CLAP"),
        (["--vae", vae, "--numbers", "float16"], 'numbers: there "bytes", asked "float16"'),
        (["--vae", vae, "--clap-min", "0.2"], "filters.clap_min: there null, asked 0.2"),
    ):
        refused = run(source, "--out", tmp_path / "out", "--workers", 0, *words)
        assert refused.exit_code == 2
        assert said in refused.output
        assert "Traceback" not in refused.output


def test_a_fault_on_an_actor_is_told_in_a_sentence(tmp_path, vae, ray):
    source = write_corpus(tmp_path / "in", shards=2, each=2)
    words = ("--out", tmp_path / "out", "--vae", vae, "--workers", 1)
    refused = run(source, *words, "--text", "t5:/nowhere")
    assert refused.exit_code == 2
    assert "no T5 under" in refused.output
    assert "Traceback" not in refused.output
