import pytest
from pycocoevalcap.rouge.rouge import Rouge, my_lcs

from captioner.metrics.rouge import longest_common, rouge_l
from tests.small_captions import as_coco, captions_like_speech


@pytest.mark.parametrize(("clips", "most_references"), [(1, 1), (1, 5), (40, 1), (300, 5)])
def test_agrees_with_pycocoevalcap(clips: int, most_references: int) -> None:
    candidates, references = captions_like_speech(clips, most_references, seed=clips)
    mean, theirs = Rouge().compute_score(*as_coco(candidates, references))
    ours = rouge_l(candidates, references)
    assert ours == pytest.approx(theirs, abs=1e-12)
    assert ours.mean() == pytest.approx(mean, abs=1e-12)


def test_the_longest_common_subsequence_of_long_captions_with_repeated_words() -> None:
    one, other = list("abcabcaacbbbcacbabcbacbabacbbcbabcbacbabcbabcbacbabcbcbabcbacbbabcbbacbcba"), list("cabbac" * 15)
    assert longest_common(one, other) == longest_common(other, one) == my_lcs(one, other)


def test_best_precision_and_best_recall_may_come_from_two_references() -> None:
    score = rouge_l([["a", "dog"]], [[["a", "dog", "barks", "twice"], ["a"]]])[0]
    precision, recall = 1.0, 1.0  # 2/2 with the first, 1/1 with the second
    assert score == pytest.approx((1 + 1.44) * precision * recall / (recall + 1.44 * precision))


def test_an_empty_caption_scores_nought() -> None:
    assert rouge_l([[]], [[["a", "dog"]]]) == pytest.approx([0.0])
