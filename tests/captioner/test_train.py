import numpy as np
import torch

from captioner.data import HeardSet
from captioner.model import SmallCaptioner
from captioner.prompt import EOS, SPECIAL
from captioner.train import targets, teach
from scorer.model import DIM, TOKEN_DIM, TOKENS
from scorer.tokens import make_tokenizer


def test_targets_end_with_their_end():
    tokenizer = make_tokenizer(["a dog barks", "water"], 300, SPECIAL)
    ids = targets(tokenizer, ["a dog barks", "water"], np.array([0, 1]))
    for row in ids:
        assert (row == EOS).sum() == 1
        assert (row[row.tolist().index(EOS) + 1 :] == 0).all()


def test_a_few_steps_learn_two_sounds_apart():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    kinds = draw.normal(size=(2, TOKENS, TOKEN_DIM)).astype(np.float16)
    labels = [("a dog barking",), ("running water",)] * 32
    scenes = HeardSet(
        tokens=kinds[np.arange(64) % 2],
        clap=draw.normal(size=(64, DIM)).astype(np.float16),
        labels=labels,
        relations=["alone"] * 64,
        names=[("x.wav",)] * 64,
    )
    tokenizer = make_tokenizer(["a dog barks", "water runs"], 300, SPECIAL)
    net = SmallCaptioner(tokenizer.get_vocab_size())
    before = teach(net, tokenizer, scenes, steps=1, seed=0, batch=8)
    assert teach(net, tokenizer, scenes, steps=16, seed=0, batch=8) < 0.7 * before
