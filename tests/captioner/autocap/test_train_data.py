from itertools import islice

import numpy as np
import pytest

from captioner.autocap.train_data import (
    MAX_BAD_IN_A_ROW,
    Clip,
    batches,
    captions_of,
    clip_of,
    held_out,
    mixture,
    start_of,
)
from captioner.load import Metadata
from tests.small_shards import RATE_HZ, sample, tone, write_shard
from training.errors import TrainError
from training.samples import Unusable
from training.shards import find_shards, one_pass


def told(batch):
    return [(clip.key, clip.captions, clip.metadata, clip.wave.tobytes()) for clip in batch.clips]


def shards_of(folder, *samples):
    write_shard(folder / "00000.tar", samples)
    return find_shards([str(folder)], "train")


@pytest.mark.parametrize("workers", [0, 2])
def test_reading_on_from_a_place_is_reading_through(shards, recipe, workers):
    trial = recipe(
        data={"loader_workers": workers}, text={"drop_key": 0.5}, augment={"mix": 0.5},
        optimizer={"batch_clips": 3},
    )  # fmt: skip
    found = find_shards([str(shards)], "train")
    place, places, through = start_of(trial), [], []
    for batch in islice(batches(found, trial, place), 9):
        place = place.after(batch)
        places.append(place)
        through.append(told(batch))
    for stop in (3, 4):
        again = [told(batch) for batch in islice(batches(found, trial, places[stop]), 4)]
        assert again == through[stop + 1 : stop + 5]


def test_two_ranks_read_other_clips(shards, recipe):
    found = find_shards([str(shards)], "train")
    trial = recipe(augment={"mix": 0}, optimizer={"batch_clips": 4})
    read = [
        [
            clip.key
            for batch in islice(batches(found, trial, start_of(trial), rank=rank, world=2), 2)
            for clip in batch.clips
        ]
        for rank in (0, 1)
    ]
    assert not set(read[0]) & set(read[1])


def test_a_clip_brings_what_its_record_says(shards, recipe):
    clip = clip_of(next(one_pass(find_shards([str(shards)], "train"))), recipe(), None)
    assert clip.key == "0000"
    assert clip.captions == ("a dog barks",)
    assert clip.metadata == Metadata(title="t 0000", video_caption="a yard")
    assert clip.wave.size == RATE_HZ
    assert clip.clap_embedding is None


@pytest.mark.parametrize("codec", ["flac", "wav", "opus", "mp3"])
def test_every_codec_of_export_is_heard(tmp_path, recipe, codec):
    rate = 48_000 if codec == "opus" else RATE_HZ
    wave = np.asarray(tone(440.0), dtype=np.float32)
    one = sample("a", "hm", wave, codec) if rate == RATE_HZ else None
    if one is None:
        from dataclasses import replace

        from audio.codec import encode

        one = replace(sample("a", "hm", wave), audio=encode(wave, rate, codec), extension=codec)
    clip = clip_of(next(one_pass(shards_of(tmp_path, one))), recipe(), None)
    assert clip.wave.size == pytest.approx(RATE_HZ * RATE_HZ / rate, rel=0.1)
    assert np.abs(clip.wave).max() > 0.2


def test_a_long_clip_is_heard_at_a_random_window_in_training(tmp_path, recipe):
    ramp = np.linspace(0, 0.9, 15 * RATE_HZ, dtype=np.float32)
    raw = next(one_pass(shards_of(tmp_path, sample("a", "a ramp", ramp))))
    first = clip_of(raw, recipe(), None).wave
    drawn = [clip_of(raw, recipe(), np.random.default_rng(seed)) for seed in range(8)]
    assert first.size == drawn[0].wave.size == 10 * RATE_HZ
    assert first[0] == pytest.approx(0, abs=1e-3)
    assert len({float(clip.wave[0]) for clip in drawn}) == 8
    assert drawn[0].sha is None  # not all of it was heard: its embedding is nobody else's


def test_a_sample_too_many_makes_no_long_clip(tmp_path, recipe):
    raw = next(one_pass(shards_of(tmp_path, sample("a", "hm", tone(200.0, 10.05)))))
    clip = clip_of(raw, recipe(), np.random.default_rng(0))
    assert clip.wave.size == 10 * RATE_HZ
    assert clip.sha is not None


def test_one_of_several_captions_is_learned_and_all_are_measured(tmp_path, recipe):
    raw = next(one_pass(shards_of(tmp_path, sample("a", ["one", "two", "three"], tone(200.0)))))
    assert clip_of(raw, recipe(), None).captions == ("one", "two", "three")
    drawn = {clip_of(raw, recipe(), np.random.default_rng(seed)).captions for seed in range(20)}
    assert drawn == {("one",), ("two",), ("three",)}


def test_only_the_recipe_s_keys_reach_the_model(tmp_path, recipe):
    raw = next(one_pass(shards_of(tmp_path, sample("a", "hm", tone(200.0), description="long"))))
    assert clip_of(raw, recipe(text={"keys": ["title"]}), None).metadata == Metadata(title="t a")
    assert clip_of(raw, recipe(text={"keys": ["description"]}), None).metadata == Metadata(description="long")


def test_an_embedding_of_the_shard_is_taken_along(tmp_path, recipe):
    vector = [0.6, 0.8]
    raw = next(one_pass(shards_of(tmp_path, sample("a", "hm", tone(200.0), clap_audio_embedding=vector))))
    clip = clip_of(raw, recipe(), None)
    assert clip.clap_model == "m@0"
    assert clip.clap_embedding == pytest.approx(vector)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"json": b"{"}, "no_record"),
        ({"json": b"[1]"}, "no_record"),
        ({"json": b'{"text": ""}'}, "no_caption"),
        ({"flac": b"fLaC nonsense"}, "undecodable"),
        ({"flac": b"nothing"}, "undecodable"),
        ({"wav": b"RIFF"}, "several_sounds"),
    ],
)
def test_what_cannot_be_learned_from_has_a_reason(shards, recipe, change, reason):
    raw = next(one_pass(find_shards([str(shards)], "train")))
    with pytest.raises(Unusable) as caught:
        clip_of({**raw, **change}, recipe(), None)
    assert caught.value.reason == reason


def test_bad_samples_are_passed_over_and_counted_and_too_many_stop(tmp_path, recipe):
    good = [sample(f"g{n}", "hm", tone(200.0, 0.1)) for n in range(4)]
    short = [sample(f"s{n}", "hm", tone(200.0, 0.002)) for n in range(3)]
    trial = recipe(augment={"mix": 0}, optimizer={"batch_clips": 4})
    batch = next(batches(shards_of(tmp_path / "some", *good, *short), trial, start_of(trial)))
    assert len(batch.clips) == 4
    assert batch.cursor == 4 + sum(batch.skipped.values())
    with pytest.raises(TrainError, match=f"{MAX_BAD_IN_A_ROW} samples.*too_short"):
        next(batches(shards_of(tmp_path / "none", *short), trial, start_of(trial)))


def test_a_mixture_is_captioned_for_both_and_has_no_hash(recipe):
    one = Clip("a", tone(200.0), ("A dog barks.",), Metadata(title="x"), "sha")
    two = Clip("b", tone(700.0), ("Rain falls",), Metadata(title="y"), "sha")
    rng = np.random.default_rng(0)
    found = [mixture(one, two, recipe(), rng) for _ in range(40)]
    assert {clip.captions[0] for clip in found} == {
        "A dog barks and rain falls", "A dog barks, rain falls in the background",
    }  # fmt: skip
    assert found[0].metadata.title == "x. y"
    assert found[0].sha is None
    assert found[0].key == "a+b"


def test_held_out_clips_are_shared_between_ranks(shards, recipe):
    found = find_shards([str(shards)], "train")
    trial = recipe(validation={"max_clips": 11}, optimizer={"batch_clips": 4})
    parts = [
        [clip.key for part in held_out(found, trial, rank=rank, world=2, on_skip=print) for clip in part]
        for rank in (0, 1)
    ]
    assert sorted(parts[0] + parts[1]) == [f"{n:04d}" for n in range(11)]


def test_captions_can_be_read_without_the_sound(shards):
    assert {c for s in one_pass(find_shards([str(shards)], "train")) for c in captions_of(s)} == {
        "a dog barks", "water runs", "a bell rings",
    }  # fmt: skip
