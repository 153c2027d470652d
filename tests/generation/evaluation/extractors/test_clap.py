"""CLAPs as extractors: the embedded one with its classes, and whatever the scorer loads."""

import numpy as np
import pytest

from generation.errors import GenerationError
from generation.evaluation.extractors.face import TextExtractor
from generation.evaluation.extractors.load import load_extractor
from scorer.load import WEIGHTS, load_scorer

WAVES = [np.random.default_rng(k).normal(0, 0.1, size).astype(np.float32) for k, size in enumerate((8000, 200_000))]


def test_the_embedded_ones_vectors_are_the_scorers_own():
    ears = load_extractor("embedded")
    found = ears.embed(WAVES)
    assert isinstance(ears, TextExtractor)
    assert (ears.name, ears.dim, ears.sample_rate_hz) == ("embedded", 384, 16_000)
    np.testing.assert_allclose(found.vectors, load_scorer().embed_audio(WAVES), atol=1e-6)
    assert found.logits.shape == (2, 521)


def test_its_classes_are_audiosets_in_yamnets_order(recordings):
    """Of a brook and a fire the brook is heard as water, which is 282 to 291 there."""
    logits = load_extractor("embedded").embed([recordings["brookside10_1"], recordings["campfire_11_1"]]).logits
    water = logits[:, 282:292].max(axis=1)
    assert water[0] > water[1]
    assert water[0] > np.median(logits[0]) + 3


def test_any_clap_that_the_scorer_loads_is_an_extractor():
    ears = load_extractor(f"clap={WEIGHTS}")
    found = ears.embed(WAVES[:1])
    assert found.logits is None
    assert ears.name == "autorecap-clap-small"
    assert isinstance(ears, TextExtractor)
    np.testing.assert_allclose(found.vectors, ears.scorer.embed_audio(WAVES[:1]))


def test_a_clap_that_is_not_there_is_told(tmp_path):
    with pytest.raises(GenerationError, match=r"the extractor 'clap=.*x\.pt' cannot be loaded on cpu"):
        load_extractor(f"clap={tmp_path / 'x.pt'}")
