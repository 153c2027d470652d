import numpy as np
import pytest

from scorer.embedded import EmbeddedScorer
from scorer.load import WEIGHTS, load_scorer, model_name


@pytest.fixture(scope="module")
def scorer():
    return load_scorer()


def tone(hz, seconds=10.0, rate_hz=16000):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def hiss(seconds=10.0, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * 16000)).astype(np.float32)


def test_the_face(scorer):
    assert model_name(scorer) == f"{scorer.model_id}@{scorer.weights_sha256[:12]}"
    assert set(scorer.preset_thresholds) == {"AutoReCapXL", "MQ", "HQ"}
    audio = scorer.embed_audio([tone(440), hiss()])
    text = scorer.embed_text(["a dog barks", "a flute plays a note", ""])
    assert audio.shape == (2, scorer.embedding_dim)
    assert text.shape == (3, scorer.embedding_dim)
    for vectors in (audio, text):
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert scorer.embed_audio([]).shape == (0, scorer.embedding_dim)


def test_neighbours_change_nothing(scorer):
    clips = [tone(300), hiss(3.0), tone(900, 23.0), tone(50, 0.00625)]
    together = scorer.embed_audio(clips)
    other_order = scorer.embed_audio(clips[::-1])[::-1]
    alone = np.concatenate([scorer.embed_audio([clip]) for clip in clips])
    assert np.array_equal(together, alone)
    assert np.array_equal(together, other_order)
    texts = ["a dog barks", "a long sentence about a bell that rings and rings while rain falls", "water"]
    assert np.array_equal(scorer.embed_text(texts), np.concatenate([scorer.embed_text([t]) for t in texts]))


def test_batches_of_a_fixed_size_give_the_same_whoever_is_in_them(scorer):
    batched = EmbeddedScorer(WEIGHTS, batch=4)
    clips = [tone(100 * k) for k in range(1, 7)]
    together = batched.embed_audio(clips)
    assert np.allclose(together, scorer.embed_audio(clips), atol=1e-5)
    assert np.allclose(together[4:], batched.embed_audio(clips[4:]), atol=1e-6)
    texts = ["a dog barks", "", "water runs while a bell rings", "rain", "wind"]
    assert np.allclose(batched.embed_text(texts), scorer.embed_text(texts), atol=1e-5)


def test_a_short_clip_is_heard_as_itself_repeated(scorer):
    short = hiss(2.5)
    assert np.allclose(scorer.embed_audio([short]), scorer.embed_audio([np.tile(short, 4)]), atol=1e-6)


def test_loudness_changes_nothing_that_matters(scorer):
    clip = hiss()
    assert (scorer.embed_audio([clip]) @ scorer.embed_audio([0.1 * clip]).T).item() > 0.9999


def test_silence_gives_a_vector_and_bad_samples_an_error(scorer):
    assert np.isfinite(scorer.embed_audio([np.zeros(16000, dtype=np.float32)])).all()
    with pytest.raises(ValueError, match="not finite"):
        scorer.embed_audio([np.array([np.nan] * 100)])


def test_sounds_meet_their_captions(scorer):
    """Made sounds, so that the test needs no recordings: a steady flute-like tone and rain-like noise."""
    vibrato = 5 * np.sin(2 * np.pi * 5 * np.arange(160_000) / 16000)
    phase = 2 * np.pi * np.cumsum(700 + vibrato) / 16000
    flute = (0.4 * np.sin(phase) + 0.05 * np.sin(2 * phase)).astype(np.float32)
    audio = scorer.embed_audio([flute, hiss()])
    scores = audio @ scorer.embed_text(["a flute plays a note", "rain falls and water flows"]).T
    assert scores[0, 0] > scores[0, 1]
    assert scores[1, 1] > scores[1, 0]
