"""All figures of real recordings by the embedded extractor: a worse set scores worse."""

from dataclasses import replace

import numpy as np
import pytest

from generation.errors import GenerationError
from generation.evaluation.extractors.face import Embedded
from generation.evaluation.extractors.load import load_extractor
from generation.evaluation.hearing import hear
from generation.evaluation.measure import METRICS, measure
from generation.evaluation.sounds import Sound, Unread

RATE = 16_000
CAPTIONS = {
    "barnyard_13": "farm animals", "brookside10": "water running", "campfire_11": "a fire crackling",
    "seashore_12": "waves on the shore",
}  # fmt: skip


class Clips:
    def __init__(self, place, waves):
        self.place, self._waves, self.names = place, waves, sorted(waves)

    def read(self, names):
        return (Sound(name, self._waves[name], RATE) for name in self.names if name in names)


@pytest.fixture(scope="module")
def ears():
    return load_extractor("embedded")


@pytest.fixture(scope="module")
def heard(recordings, ears):
    """The recordings, the same with some noise, and noise alone."""
    rng = np.random.default_rng(0)
    noise = {name: rng.normal(0, 0.1, wave.size).astype(np.float32) for name, wave in recordings.items()}
    noisy = {name: wave + noise[name] * 0.3 * np.abs(wave).max() for name, wave in recordings.items()}
    sets = {"reference": recordings, "noisy": noisy, "noise": noise}
    return {name: hear(Clips(name, waves), sorted(waves), [ears], keep_vectors=True) for name, waves in sets.items()}


@pytest.fixture(scope="module")
def captions(recordings):
    return {name: (CAPTIONS[name.rpartition("_")[0]],) for name in recordings}


@pytest.fixture(scope="module")
def figures(heard, captions, ears):
    return {
        name: {
            one.metric: one for one in measure(one, heard["reference"], [ears], captions, wanted=list(METRICS)).found
        }
        for name, one in heard.items()
    }


@pytest.mark.parametrize("metric", ["FD", "KAD", "KL softmax", "KL sigmoid"])
def test_the_worse_set_is_further_away(figures, metric):
    itself, noisy, noise = (figures[name][metric].value for name in ("reference", "noisy", "noise"))
    assert itself < noisy < noise


def test_noise_scores_lower(figures):
    """With little noise the sea sounds no worse: only what is noise alone must score lower."""
    for metric in ("IS", "CLAP"):
        itself, noisy, noise = (figures[name][metric].value for name in ("reference", "noisy", "noise"))
        assert min(itself, noisy) > noise


def test_a_set_against_itself_has_no_distance(figures):
    assert figures["reference"]["FD"].value == pytest.approx(0, abs=1e-4)
    assert figures["reference"]["KL softmax"].value == pytest.approx(0, abs=1e-3)
    assert figures["reference"]["CLAP"].value == figures["reference"]["CLAP of reference"].value


def test_each_figure_says_what_it_depends_on(figures, ears):
    fd, clap = figures["noisy"]["FD"], figures["noisy"]["CLAP"]
    for one in (fd, clap):
        assert (one.extractor, one.weights_sha256, one.sample_rate_hz) == ("embedded", ears.weights_sha256, RATE)
    assert (fd.generated, fd.reference, fd.vectors, fd.dim) == (12, 12, (12, 12), 384)
    assert "12 vectors in 384 dimensions" in fd.note
    assert clap.low < clap.value < clap.high
    assert figures["noisy"]["IS"].std > 0


def test_what_cannot_be_had_is_left_out_with_its_reason(heard, ears):
    found = measure(heard["noisy"], heard["reference"], [ears], {}, wanted=["fd", "clap"])
    assert [one.metric for one in found.found] == ["FD"]
    assert "12 of 12 have none (barnyard_13_0" in found.left_out["clap", "embedded"]
    with pytest.raises(GenerationError, match="give --captions FILE"):
        measure(heard["noisy"], heard["reference"], [ears], {}, wanted=["fd", "clap"], asked=True)


class Deaf:
    """Tells neither classes nor what a text is."""

    name, weights_sha256, sample_rate_hz, window_s, dim = "deaf", "1" * 64, RATE, None, 1

    def embed(self, waves):
        return Embedded(np.array([[wave.std()] for wave in waves], np.float32))


def test_an_extractor_gives_what_it_can(recordings):
    deaf = Deaf()
    heard = hear(Clips("it", recordings), sorted(recordings), [deaf])
    found = measure(heard, heard, [deaf], {}, asked=True)
    assert [one.metric for one in found.found] == ["FD"]
    assert {metric: why for (metric, _), why in found.left_out.items()} == {
        "is": "it tells no classes", "kl": "it tells no classes", "clap": "it reads no texts",
    }  # fmt: skip


def test_pairs_whose_reference_could_not_be_heard_are_left_aside(heard, ears):
    whole = heard["reference"]
    kept = [replace(whole.kept[0], logits=whole.kept[0].logits[1:])]
    without = replace(whole, kept=kept, names=whole.names[1:], unread=[Unread(whole.names[0], "undecodable", "")])
    found = measure(heard["noisy"], without, [ears], {}, wanted=["kl"], asked=True)
    assert found.found[0].generated == 11
