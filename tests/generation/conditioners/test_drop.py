import torch

from generation.conditioners.drop import dropped, without


def test_each_clip_loses_its_condition_on_its_own():
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([dropped(8, 0.25, generator) for _ in range(400)])
    assert 0.22 < draws.float().mean() < 0.28
    assert 0 < draws.all(dim=1).sum() + draws.any(dim=1).sum() < 400
    assert len({tuple(row.tolist()) for row in draws}) > 50


def test_the_reference_s_batch_loses_all_or_none():
    generator = torch.Generator().manual_seed(0)
    draws = [dropped(8, 0.5, generator, "batch") for _ in range(40)]
    assert {int(row.sum()) for row in draws} == {0, 8}


def test_the_edges_drop_none_and_all():
    generator = torch.Generator().manual_seed(0)
    assert not dropped(100, 0.0, generator).any()
    assert dropped(100, 1.0, generator).all()


def test_a_seed_repeats_it():
    one, two = (dropped(64, 0.5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert (one == two).all()


def test_what_is_lost_becomes_what_no_prompt_looks_like():
    condition, none = torch.ones(3, 2), torch.tensor([5.0, 7.0])
    lost = torch.tensor([True, False, True])
    assert without(condition, none, lost).tolist() == [[5, 7], [1, 1], [5, 7]]
