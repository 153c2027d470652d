import pytest
from pycocoevalcap.bleu.bleu import Bleu

from captioner.metrics.bleu import bleu
from tests.small_captions import as_coco, captions_like_speech


@pytest.mark.parametrize(("clips", "most_references"), [(1, 1), (1, 5), (2, 1), (40, 1), (300, 5)])
def test_agrees_with_pycocoevalcap(clips: int, most_references: int) -> None:
    candidates, references = captions_like_speech(clips, most_references, seed=clips)
    theirs, _ = Bleu(4).compute_score(*as_coco(candidates, references), verbose=0)
    assert bleu(candidates, references) == pytest.approx(theirs, abs=1e-9)


def test_word_for_word_is_one() -> None:
    said = [["a", "dog", "barks", "twice"], ["rain", "falls", "on", "a", "roof"]]
    assert bleu(said, [[s] for s in said]) == pytest.approx([1, 1, 1, 1], abs=1e-6)


def test_nothing_said_is_nought() -> None:
    assert bleu([[], []], [[["a", "dog"]], [["rain"]]]) == pytest.approx([0, 0, 0, 0], abs=1e-6)


def test_of_two_equally_close_references_the_shorter_sets_the_length() -> None:
    said = [["a", "b", "c"]]
    assert bleu(said, [[["a", "b", "c", "d"], ["a", "b"]]])[0] == pytest.approx(1.0)  # no brevity penalty


def test_a_word_counts_as_often_as_the_reference_that_has_it_most() -> None:
    assert bleu([["the", "the", "the", "the"]], [[["the", "the"], ["the", "cat"]]])[0] == pytest.approx(0.5)
