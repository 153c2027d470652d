import numpy as np
import pytest
from pycocoevalcap.cider.cider import Cider

from captioner.metrics.cider import cider_d
from tests.small_captions import as_coco, captions_like_speech


@pytest.mark.parametrize(("clips", "most_references"), [(1, 1), (1, 5), (2, 1), (40, 1), (300, 5)])
def test_agrees_with_pycocoevalcap(clips: int, most_references: int) -> None:
    candidates, references = captions_like_speech(clips, most_references, seed=clips)
    mean, theirs = Cider().compute_score(*as_coco(candidates, references))
    ours = cider_d(candidates, references)
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert ours.mean() == pytest.approx(mean, abs=1e-9)


def test_of_a_single_clip_it_is_nought_even_when_right() -> None:
    assert cider_d([["a", "dog", "barks"]], [[["a", "dog", "barks"]]]) == pytest.approx([0.0])


def test_the_reference_word_for_word_scores_ten() -> None:
    said = [["a", "dog", "barks", "loudly"], ["rain", "falls", "on", "metal"], ["water", "runs", "in", "pipes"]]
    assert cider_d(said, [[s] for s in said]) == pytest.approx([10.0] * 3)


def test_words_that_every_clip_has_count_nothing() -> None:
    references = [[["a", "dog", "barks"]], [["a", "cat", "meows"]]]
    assert cider_d([["a"], ["a"]], references) == pytest.approx([0.0, 0.0])


def test_an_empty_caption_scores_nought() -> None:
    scores = cider_d([[], ["rain", "falls"]], [[["a", "dog"]], [["rain", "falls"]]])
    assert scores[0] == 0
    assert scores[1] > 0


def test_repeating_a_right_word_pays_less_than_saying_it_once() -> None:
    references = [[["dog", "barks"]], [["rain", "falls"]]]
    once, often = cider_d([["dog"], ["rain"]], references), cider_d([["dog"] * 6, ["rain"]], references)
    assert often[0] < once[0]


def test_refuses_what_cannot_be_measured() -> None:
    with pytest.raises(ValueError, match="no caption"):
        cider_d([], [])
    with pytest.raises(ValueError, match="2 captions but the references of 1"):
        cider_d([["a"], ["b"]], [[["a"]]])
    with pytest.raises(ValueError, match=r"clip 1 .* has no reference"):
        cider_d([["a"], ["b"]], [[["a"]], []])


def test_clips_with_several_references_take_their_mean() -> None:
    one = cider_d([["dog", "barks"], ["rain"]], [[["dog", "barks"]], [["rain", "falls"]]])
    two = cider_d([["dog", "barks"], ["rain"]], [[["dog", "barks"], ["wind"]], [["rain", "falls"]]])
    assert two[0] == pytest.approx(one[0] / 2)
    assert np.isfinite(two).all()
