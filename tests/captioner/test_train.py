import numpy as np
import torch

from captioner.data import HeardSet
from captioner.model import AUDIO_TOKENS, SUMMARY, Namer, SmallCaptioner
from captioner.prompt import EOS, SPECIAL
from captioner.train import Lesson, targets, teach, teach_namer
from scorer.model import CLASSES, DIM, TOKEN_DIM
from scorer.tokens import make_tokenizer

NAMES = ("a dog barking", "running water")


class TwoNames:
    all = NAMES

    def from_classes(self, loudness):
        return np.zeros((len(loudness), 2), np.float32)

    def naming(self, labels, named, teacher_share):
        told = np.array([[own == (name,) for name in NAMES] for own in labels], np.float32)
        return told, np.ones(len(labels), np.float32)


def two_sounds(scenes=64):
    draw = np.random.default_rng(0)
    which = np.arange(scenes) % 2

    def of_its_own(*shape):
        return draw.normal(size=(2, *shape)).astype(np.float16)[which]

    return HeardSet(
        tokens=of_its_own(AUDIO_TOKENS, TOKEN_DIM),
        summary=of_its_own(SUMMARY),
        clap=of_its_own(DIM),
        teacher=np.zeros((scenes, CLASSES), np.float16),
        labels=[(NAMES[k],) for k in which],
        relations=["alone"] * scenes,
        names=[("x.wav",)] * scenes,
    )


def test_targets_end_with_their_end():
    tokenizer = make_tokenizer(["a dog barks", "water"], 300, SPECIAL)
    for row in targets(tokenizer, ["a dog barks", "water"]):
        assert (row == EOS).sum() == 1
        assert (row[row.tolist().index(EOS) + 1 :] == 0).all()


def test_a_few_steps_learn_two_sounds_apart():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    scenes = two_sounds()
    namer = Namer(2)
    teach_namer(namer, scenes, TwoNames(), 0.5, steps=30, seed=0)
    with torch.no_grad():
        guess = namer(torch.from_numpy(scenes.summary[:2]).float(), torch.from_numpy(scenes.clap[:2]).float())
    assert guess.argmax(dim=1).tolist() == [0, 1]
    assert torch.allclose(guess.exp().sum(dim=1), torch.ones(2), atol=1e-5)


def test_a_few_steps_learn_to_say_them_and_leave_the_namer_alone():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    scenes = two_sounds()
    tokenizer = make_tokenizer(["a dog barks", "water runs"], 300, SPECIAL)
    net = SmallCaptioner(tokenizer.get_vocab_size(), 16, to_train=True)
    groups = (np.arange(64), np.array([], dtype=int), np.array([], dtype=int))
    lesson = Lesson(scenes, scenes.labels, scenes.relations, groups)
    namer = [p.clone() for p in net.namer.state_dict().values()]
    before = teach(net, tokenizer, lesson, steps=1, seed=0, batch=8)
    assert teach(net, tokenizer, lesson, steps=16, seed=0, batch=8) < 0.7 * before
    assert all(torch.equal(a, b) for a, b in zip(namer, net.namer.state_dict().values(), strict=True))
