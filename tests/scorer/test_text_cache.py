import numpy as np

from scorer.load import load_scorer
from scorer.text_cache import TextCache


class Counting:
    """The embedded scorer, counting the texts that reach it."""

    def __init__(self):
        self.inner, self.seen = load_scorer(), []
        self.embedding_dim = self.inner.embedding_dim

    def embed_text(self, texts):
        self.seen += texts
        return self.inner.embed_text(texts)


def test_each_text_is_embedded_once():
    scorer = Counting()
    cache = TextCache(scorer)
    texts = ["a dog barks", "rain", "a dog barks"]
    assert np.array_equal(cache.embed(texts), scorer.inner.embed_text(texts))
    assert np.array_equal(cache.embed(["rain", "wind"]), scorer.inner.embed_text(["rain", "wind"]))
    assert scorer.seen == ["a dog barks", "rain", "wind"]
    assert cache.embed([]).shape == (0, scorer.embedding_dim)


def test_the_least_used_go_first():
    scorer = Counting()
    cache = TextCache(scorer, limit=2)
    cache.embed(["a", "b"])
    cache.embed(["a", "c"])
    cache.embed(["a", "b"])
    assert scorer.seen == ["a", "b", "c", "b"]
    many = [f"{k} dogs" for k in range(7)]
    assert np.array_equal(cache.embed(many), scorer.inner.embed_text(many))
