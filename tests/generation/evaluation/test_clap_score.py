"""CLAP score: the cosine with each clip's own captions."""

import numpy as np
import pytest

from generation.evaluation.clap_score import clap_scores


class Axes:
    """A text tower that knows four words."""

    def embed_text(self, texts):
        return np.eye(4, dtype=np.float32)[["a b c d".split().index(text) for text in texts]]


def test_is_the_cosine_and_the_mean_of_several_captions():
    audio = np.array([[1, 0, 0, 0], [0.6, 0.8, 0, 0]], dtype=np.float32)
    assert clap_scores(audio, [["a"], ["a", "b"]], Axes()) == pytest.approx([1.0, 0.7])


def test_a_caption_fewer_than_there_are_sounds_is_refused():
    with pytest.raises(ValueError, match="zip"):
        clap_scores(np.eye(4)[:2], [["a"]], Axes())
