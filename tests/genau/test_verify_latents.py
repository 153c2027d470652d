import hashlib
import json

import numpy as np
import pytest

from corpus.store import Store
from genau.encode_folder import EncodedShard, Job, finish, is_latents, record, request_of
from genau.verify_latents import verify_latents
from generation.latent_numbers import half_file, latent_file
from generation.latents import AUDIO, LATENT, TEXT
from tests.sound_shards import write_tar
from training.shards import Shard

WIDTH = 3


def clip(key, captions=2, **change):
    told = {"text": [f"caption {n}" for n in range(captions)]}
    made = {
        LATENT: latent_file(np.ones((2, 4, 5)), "bytes"),
        TEXT: half_file(np.ones((2, WIDTH))),
        "json": json.dumps(told).encode(),
    } | change
    return [(f"{key}.{name}", data) for name, data in made.items() if data is not None]


def folder_of(tmp_path, *clips, **asked):
    path = write_tar(tmp_path / "train/00000.tar", clips)
    out, data = Store(tmp_path), path.read_bytes()
    jobs = [Job(Shard("in", "00000.tar", len(clips)), "train/00000.tar")]
    sha256 = hashlib.sha256(data).hexdigest()
    record(out, EncodedShard("train/00000.tar", len(clips), len(clips), {}, len(data), sha256, 1.0))
    finish(out, jobs, request_of(jobs, {"text": {"width": WIDTH, "hears": 2}, **asked}))
    return out


def faults(out):
    return {check.name: check.detail for check in verify_latents(out).faults}


def test_a_folder_as_it_was_made_is_sound(tmp_path):
    out = folder_of(tmp_path, clip("a"), clip("b"))
    assert is_latents(out)
    assert verify_latents(out).ok
    assert verify_latents(out).lines()[-1] == "ok    samples: 2 latents"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({LATENT: b"x"}, "damaged_array"),
        ({LATENT: None}, "no_latent"),
        ({LATENT: latent_file(np.ones((2, 4, 6)), "float16")}, "several shapes"),
        ({LATENT: half_file(np.full((2, 4, 5), np.nan))}, "not finite"),
        ({TEXT: half_file(np.ones((1, WIDTH)))}, "for 2 captions"),
        ({"json": None}, "members without a record"),
    ],
)
def test_a_sample_that_is_not_right_is_named(tmp_path, change, said):
    assert said in faults(folder_of(tmp_path, clip("a"), clip("b", **change)))["samples"]


def test_a_shard_that_is_cut_gone_or_strange_is_named(tmp_path):
    out = folder_of(tmp_path, clip("a"), clip("b"))
    path = tmp_path / "train/00000.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[: 512 * 5])
    found = faults(out)
    assert "SHA-256" in found["bytes"]
    assert "2 samples are stated" in found["samples"]
    path.rename(tmp_path / "train/00001.tar")
    assert set(faults(out)) == {"files present", "no other shards"}


def test_an_export_is_no_folder_of_latents(tmp_path):
    assert not is_latents(Store(tmp_path))
    (tmp_path / "manifest.json").write_text('{"files": {}, "counts": {}}')
    assert not is_latents(Store(tmp_path))


def test_sounds_vectors_are_looked_at_where_they_were_asked_for(tmp_path):
    heard = {AUDIO: half_file(np.ones(2))}
    assert verify_latents(folder_of(tmp_path / "a", clip("a", **heard), audio_vectors=True)).ok
    assert "no_audio" in faults(folder_of(tmp_path / "b", clip("a"), audio_vectors=True))["samples"]
    wrong = {AUDIO: half_file(np.ones(3))}
    assert (
        "a sound's vector of shape (3,)"
        in faults(folder_of(tmp_path / "c", clip("a", **wrong), audio_vectors=True))["samples"]
    )
    bad = {AUDIO: half_file(np.array([1, np.nan]))}
    assert "not finite" in faults(folder_of(tmp_path / "d", clip("a", **bad), audio_vectors=True))["samples"]
