import numpy as np
import pytest

from captioner.metrics.bleu import bleu
from captioner.metrics.cider import cider_d
from captioner.metrics.java import JavaError
from captioner.metrics.measure import Measured, bootstrap, measure
from tests.small_captions import captions_like_speech


def of_speech(clips: int, **options: object) -> Measured:
    candidates, references = captions_like_speech(clips, 3, seed=1)
    texts = [" ".join(tokens) for tokens in candidates]
    told = [[" ".join(tokens) for tokens in some] for some in references]
    return measure({1: texts, 2: [some[0] for some in told]}, told, java=False, **options)  # type: ignore[arg-type]


def test_values_are_those_of_the_metrics_and_lie_in_their_intervals() -> None:
    candidates, references = captions_like_speech(60, 3, seed=1)
    found = of_speech(60)
    assert (found.clips, found.tokenizer) == (60, "own")
    one = found.of[1]
    assert one["CIDEr-D"].value == pytest.approx(cider_d(candidates, references).mean())
    assert [one[f"BLEU-{n}"].value for n in (1, 2, 3, 4)] == pytest.approx(bleu(candidates, references))
    for name, value in one.items():
        if name != "vocabulary":
            assert value.low is not None
            assert value.high is not None
            assert value.low < value.value < value.high
    assert one["vocabulary"].value == len({word for tokens in candidates for word in tokens})
    assert found.of[2]["BLEU-4"].value > one["BLEU-4"].value
    assert set(found.left_out) == {"METEOR", "SPICE", "SPIDEr"}


def test_the_same_seed_gives_the_same_intervals() -> None:
    assert of_speech(30, seed=3).of == of_speech(30, seed=3).of
    assert of_speech(30, seed=3).of != of_speech(30, seed=4).of


def test_one_clip_has_values_and_no_intervals() -> None:
    found = measure({2: ["a dog barks"]}, [["A dog barks."]], java=False).of[2]
    assert found["ROUGE-L"] == (1.0, None, None)
    assert found["CIDEr-D"].value == 0


def test_identical_captions_of_every_clip() -> None:
    found = measure({1: ["a sound"] * 3}, [["a dog barks"], ["rain falls"], ["a sound"]], java=False).of[1]
    assert found["vocabulary"].value == 2
    assert 0 < found["CIDEr-D"].value < 10


def test_empty_captions_count() -> None:
    found = measure({1: ["", "rain falls"]}, [["a dog barks"], ["rain falls"]], java=False).of[1]
    assert found["ROUGE-L"].value == pytest.approx(0.5)


def test_clip_scores_from_elsewhere_are_averaged_with_an_interval() -> None:
    scores = np.linspace(0, 1, 20)
    found = measure({1: ["a dog"] * 20}, [["a dog"]] * 20, java=False, clip_scores={"CLAP": {1: scores}}).of[1]["CLAP"]
    assert found.value == pytest.approx(0.5)
    assert found.low is not None
    assert 0.3 < found.low < 0.5


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    draws = np.random.default_rng(0).normal(5, 2, 2000)
    low, high = bootstrap(draws[:, None], lambda sums: sums / 2000, 1000, seed=0)
    assert low[0] == pytest.approx(draws.mean() - 1.96 * 2 / 2000**0.5, abs=0.015)
    assert high[0] == pytest.approx(draws.mean() + 1.96 * 2 / 2000**0.5, abs=0.015)


def test_java_that_is_asked_for_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(JavaError, match="install a Java runtime"):
        measure({1: ["a dog"]}, [["a dog"]], java=True)
    found = measure({1: ["a dog"]}, [["a dog"]])  # where it may be left out, it is, and said so
    assert found.tokenizer == "own"
    assert "install a Java runtime" in found.left_out["METEOR"]


def test_spider_is_the_mean_of_cider_d_and_spice() -> None:
    candidates, references = captions_like_speech(20, 2, seed=2)
    texts = [" ".join(tokens) for tokens in candidates]
    told = [[" ".join(tokens) for tokens in some] for some in references]
    spice = {1: np.linspace(0, 0.4, 20)}
    found = measure({1: texts}, told, java=False, clip_scores={"SPICE": spice}).of[1]
    assert found["SPIDEr"].value == pytest.approx((cider_d(candidates, references).mean() + 0.2) / 2)
    assert list(found)[-3:] == ["SPICE", "SPIDEr", "vocabulary"]
