import numpy as np
import pytest
import torch

from captioner.autocap.augment import (
    augmented,
    chosen_keys,
    drop_keys,
    drop_path,
    joined_metadata,
    stripe_mask,
)
from captioner.autocap.train_recipe import Augment
from captioner.load import Metadata
from scorer.htsat import Htsat, HtsatShape


def test_metadata_is_joined_chosen_and_dropped_field_by_field():
    first, second = Metadata(title="Lake", description="d"), Metadata(title="Rain", video_caption="a roof")
    both = joined_metadata(first, second)
    assert both == Metadata(title="Lake. Rain", description="d", video_caption="a roof")
    assert chosen_keys(both, ["title"]) == Metadata(title="Lake. Rain")
    rng = np.random.default_rng(0)
    dropped = [drop_keys(both, 0.5, rng) for _ in range(400)]
    gone = [(not m.title, not m.video_caption) for m in dropped]
    # Each on its own: all four combinations, about a quarter each.
    for kind in ((False, False), (False, True), (True, False), (True, True)):
        assert 60 < gone.count(kind) < 140
    assert drop_keys(both, 0.0, rng) == both


def test_stripes_are_of_the_sizes_that_were_asked_for():
    torch.manual_seed(0)
    mask = stripe_mask((200, 64, 1001), Augment(mel_stripes=0))
    columns = (mask[:, 0] == 0).sum(1)
    assert int(columns.max()) <= 128
    assert 40 < float(columns.float().mean()) < 80  # two of 0 to 64
    assert len({int(c) for c in columns}) > 50
    bands = (stripe_mask((200, 64, 100), Augment(time_stripes=0))[:, :, 0] == 0).sum(1)
    assert int(bands.max()) <= 16
    assert bool((stripe_mask((2, 64, 100), Augment(time_stripes=0, mel_stripes=0)) == 1).all())


def test_dropped_paths_are_of_whole_clips_and_keep_the_mean():
    torch.manual_seed(0)
    out = drop_path(torch.ones(2000, 3, 4), 0.25)
    assert set(out.flatten(1).std(1).tolist()) == {0.0}
    assert float(out.mean()) == pytest.approx(1.0, abs=0.05)


def test_the_tower_hears_augmented_inside_and_plainly_after():
    torch.manual_seed(0)
    tower = Htsat(HtsatShape(width=8, depths=(1, 1, 1, 1), heads=(1, 2, 4, 8))).eval()
    mel = torch.randn(2, 1, 1001, 64)
    with torch.no_grad():
        plain = tower(mel)
        with augmented(tower, Augment()):
            other, again = tower(mel), tower(mel)
        assert not torch.allclose(plain, other)
        assert not torch.allclose(other, again)
        assert torch.equal(plain, tower(mel))
        with augmented(tower, Augment(time_stripes=0, mel_stripes=0, drop_path=0)):
            assert torch.equal(plain, tower(mel))
