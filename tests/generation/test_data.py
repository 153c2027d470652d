import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from pydantic import ValidationError

from generation.data import LOST, STRAY, Feed, find_corpora, held_out
from generation.data_recipe import Data
from generation.data_waves import Waves
from tests.sound_shards import members, tone, write_corpus, write_tar
from training.errors import TrainError

SAMPLES = 4000


def level(wave):
    return wave


def data(*corpora, **more):
    return Data.model_validate({"corpora": list(corpora), "loader_workers": 0, "shuffle_clips": 6, **more})


def feed_of(recipe, batch_clips=3):
    kind = Waves(16_000, SAMPLES, level, recipe.filters, recipe.mix)
    return Feed(find_corpora(recipe), recipe, kind, batch_clips=batch_clips, seed=20)


def read(feed, count, place=None, rank=0, world=1):
    return list(islice(feed.batches(place, rank=rank, world=world), count))


def told(batch):
    clips = batch.clips
    return clips.keys, clips.captions, clips.datasets, clips.waves.numpy().tobytes()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    long = tone(300.0, 0.6)
    write_corpus(folder / "a", "a")
    clips = [members(f"b{n:03d}", [f"b{n}", f"also b{n}"], long * (1 + n) / 40) for n in range(20)]
    write_tar(folder / "b" / "0.tar", clips[:9])
    write_tar(folder / "b" / "1.tar", clips[9:])
    return {"shards": str(folder / "a"), "weight": 3, "dataset": "first"}, {
        "shards": [str(folder / "b")], "weight": 1, "dataset": "second",
    }  # fmt: skip


@pytest.mark.parametrize("workers", [0, 2])
def test_reading_on_from_a_place_is_reading_through(two, workers):
    recipe = data(*two, loader_workers=workers, mix={"share": 0.5})
    feed = feed_of(recipe)
    batches = read(feed, 14)
    through = [told(batch) for batch in batches]
    assert len({waves for *_, waves in through}) == 14
    for stop in (3, 8):
        place = json.loads(json.dumps(batches[stop].place))
        assert [told(batch) for batch in read(feed, 4, place)] == through[stop + 1 : stop + 5]


def test_a_place_of_other_readers_begins_anew(two, caplog):
    place = read(feed_of(data(*two)), 3)[-1].place
    again = read(feed_of(data(*two, loader_workers=2)), 1, place)
    assert told(again[0]) == told(read(feed_of(data(*two, loader_workers=2)), 1)[0])
    assert "begun anew" in caplog.text


def test_weights_are_shares_of_the_clips(two):
    feed = feed_of(data(*two), batch_clips=40)
    drawn = Counter(name for batch in read(feed, 20) for name in batch.clips.datasets)
    assert drawn["first"] == pytest.approx(600, abs=40)  # 3 of 4 of 800; a standard deviation is 12


def test_a_weight_holds_for_what_passes_the_filters(tmp_path):
    """Half of one corpus is filtered out: its share of what is learned stays what the recipe says."""
    good = [members(f"g{n}", "good") for n in range(10)]
    write_tar(tmp_path / "a.tar", good)
    poor = [members(f"p{n}", "poor", score=0.9 if n % 2 else 0.1) for n in range(10)]
    write_tar(tmp_path / "b.tar", poor)
    corpora = [{"shards": str(tmp_path / f"{name}.tar"), "weight": 1, "dataset": name} for name in "ab"]
    feed = feed_of(data(*corpora, filters={"clap_min": 0.3}), batch_clips=20)
    batches = read(feed, 20)
    assert Counter(name for batch in batches for name in batch.clips.datasets)["b"] == pytest.approx(200, abs=40)
    assert sum(batch.skipped.get("clap_below_min", 0) for batch in batches) > 100
    assert {caption for batch in batches for caption in batch.clips.captions} == {"good", "poor"}


def test_without_weights_every_clip_comes_as_often_as_any_other(two):
    corpora = [{key: value for key, value in one.items() if key != "weight"} for one in two]
    found = find_corpora(data(*corpora))
    assert [one.share for one in found] == pytest.approx([24 / 44, 20 / 44])


def test_two_ranks_read_other_clips(two):
    feed = feed_of(data(two[0]), batch_clips=4)
    keys = [{key for batch in read(feed, 2, rank=rank, world=2) for key in batch.clips.keys} for rank in (0, 1)]
    assert not keys[0] & keys[1]


def test_bad_clips_are_counted_by_reason_and_passed_over(tmp_path):
    clips = [members(f"g{n}") for n in range(6)]
    clips += [members("zeros", wave=np.zeros(8000, np.float32)), members("words", "w" * 5000)]
    clips += [[("alone.flac", b"x")], [("bare.json", b'{"text": "hm"}')]]
    write_tar(tmp_path / "0.tar", clips)
    feed = feed_of(data({"shards": str(tmp_path)}), batch_clips=6)
    batches = read(feed, 2)
    assert all(set(batch.clips.keys) == {f"g{n}" for n in range(6)} for batch in batches)
    skipped = Counter()
    for batch in batches:
        skipped.update(batch.skipped)
    assert {"silent", "caption_too_long", "no_sound", STRAY} <= set(skipped)


def test_a_truncated_shard_does_not_stop_a_training(tmp_path):
    write_corpus(tmp_path, shards=2)
    whole = (tmp_path / "00001.tar").read_bytes()
    (tmp_path / "sizes.json").write_text(json.dumps({"00000.tar": 8, "00001.tar": 8}))
    (tmp_path / "00001.tar").write_bytes(whole[: len(whole) // 3])
    feed = feed_of(data({"shards": str(tmp_path)}), batch_clips=8)
    batches = read(feed, 3)
    assert sum(batch.skipped.get(LOST, 0) for batch in batches) >= 3


@pytest.mark.parametrize("workers", [0, 1])
def test_a_corpus_of_which_nothing_can_be_used_stops_with_the_reasons(tmp_path, workers):
    write_tar(tmp_path / "0.tar", [members(f"k{n}", wave=tone(300, 0.004)) for n in range(5)])
    feed = feed_of(data({"shards": str(tmp_path)}, loader_workers=workers))
    with pytest.raises(TrainError, match=r"^data: of \d+ clips .* none could be used \(too_short \d+\)") as caught:
        read(feed, 1)
    assert "Traceback" not in str(caught.value)


def test_held_out_clips_are_the_first_of_each_corpus_in_turns(two):
    recipe = data(*two)
    kind = Waves(16_000, SAMPLES, level)
    batches = list(held_out(find_corpora(recipe), kind, max_clips=7, batch_clips=3))
    assert [key for batch in batches for key in batch.keys] == ["a000", "b000", "a001", "b001", "a002", "b002", "a003"]
    parts = [
        {key for batch in held_out(find_corpora(recipe), kind, max_clips=60, batch_clips=4, rank=rank, world=2)
         for key in batch.keys}
        for rank in (0, 1)
    ]  # fmt: skip
    assert (len(parts[0]), len(parts[1]), len(parts[0] | parts[1])) == (22, 22, 44)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"corpora": []}, "corpora"),
        ({"corpora": [{"shards": "a", "weight": 1}, {"shards": "b"}]}, "a weight, or none"),
        ({"filters": {"min_s": 5, "max_s": 2}}, "no clip could pass"),
        ({"kind": "latents", "mix": {"share": 0.1}}, "latents cannot be mixed"),
        ({"mix": {"background_snr_db": [9, 3]}}, "the lower one first"),
        ({"filters": {"clap": 0.4}}, "clap"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(change, said):
    with pytest.raises(ValidationError, match=said):
        Data.model_validate({"corpora": [{"shards": "x"}], **change})
