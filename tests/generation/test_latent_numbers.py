"""Gaussians as files: what a byte loses, what it must not, and what is no such file."""

import io

import numpy as np
import pytest
import torch

from generation.latent_numbers import gaussians, half_file, latent_file, read_half, read_latent, stacked

CHANNELS, STEPS = 8, 256
DRAW = np.random.default_rng(0)
LATENT = np.stack([
    DRAW.standard_normal((CHANNELS, STEPS)) * np.geomspace(0.01, 100, CHANNELS)[:, None] + 3,
    np.exp(DRAW.standard_normal((CHANNELS, STEPS)) - 3),
]).astype(np.float32)  # fmt: skip


def back(*latents, numbers="bytes"):
    """(B, 2, C, T) of what was written and read."""
    kept = [read_latent(latent_file(latent, numbers)) for latent in latents]
    return torch.stack(gaussians(*stacked(kept)), dim=1).numpy()


def test_a_byte_is_off_by_under_a_hundredth_of_the_channel_s_deviation():
    (mean, std), (true_mean, true_std) = back(LATENT)[0], LATENT
    wrong = np.sqrt(np.square(mean - true_mean).mean(axis=1)) / true_mean.std(axis=1)
    assert wrong.max() < 0.01
    assert np.abs(mean - true_mean).max() <= np.ptp(true_mean, axis=1).max() / 510 * 1.001
    spans = np.ptp(np.log(true_std), axis=1, keepdims=True)
    assert (np.abs(np.log(std / true_std)) <= spans / 510 * 1.001).all()
    exact = back(LATENT, numbers="float16")[0]
    np.testing.assert_array_equal(exact, LATENT.astype(np.float16))


def test_two_needles_are_the_worst_there_is():
    latent = np.ones_like(LATENT)
    latent[0, :, 3], latent[0, :, 9] = 7, -5
    (mean, _), (true_mean, _) = back(latent)[0], latent
    assert (np.sqrt(np.square(mean - true_mean).mean(axis=1)) / true_mean.std(axis=1)).max() < 0.045


def test_what_does_not_change_is_kept_as_it_is():
    latent = np.ones_like(LATENT) * np.float32(np.pi)
    latent[1] = np.float32(0.0123)
    latent[1, 2] = 0  # no deviation at all: as good as none
    mean, std = back(latent)[0]
    assert (mean == latent[0]).all()
    np.testing.assert_allclose(np.delete(std, 2, axis=0), 0.0123, rtol=1e-6)
    assert 0 < std[2].max() < 1e-6


def test_a_file_is_half_as_large_and_numpy_reads_it():
    small, large = latent_file(LATENT, "bytes"), latent_file(LATENT, "float16")
    assert len(small) < 0.55 * len(large)
    file = io.BytesIO(small)
    numbers, ranges = np.load(file), np.load(file)
    assert (numbers.shape, ranges.shape) == (LATENT.shape, (2, 2, CHANNELS))
    mean = ranges[0, 0][:, None] + ranges[0, 1][:, None] * numbers[0]
    np.testing.assert_allclose(mean, back(LATENT)[0, 0], rtol=1e-5, atol=1e-5)


def test_both_sorts_make_one_batch():
    kept = [read_latent(latent_file(LATENT, numbers)) for numbers in ("bytes", "float16", "bytes")]
    numbers, ranges = stacked(kept)
    assert (numbers.dtype, ranges) == (torch.float32, None)
    both = torch.stack(gaussians(numbers, ranges), dim=1).numpy()
    np.testing.assert_allclose(both[0], back(LATENT)[0], rtol=1e-6)
    np.testing.assert_array_equal(both[1], back(LATENT, numbers="float16")[0])
    assert stacked(kept[::2])[0].dtype == torch.uint8
    assert stacked(kept[1:2])[0].dtype == torch.float16


@pytest.mark.parametrize("numbers", ["bytes", "float16"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(numbers, bad):
    latent = LATENT.copy()
    latent[1, 2, 3] = bad
    with pytest.raises(ValueError, match="not finite"):
        latent_file(latent, numbers)
    latent[1, 2, 3], latent[0, 0, 0] = 1, 1e6  # more than float16 holds
    if numbers == "float16":
        with pytest.raises(ValueError, match="not finite"):
            latent_file(latent, numbers)
    else:
        assert back(latent)[0, 0, 0, 0] == pytest.approx(1e6)


def npy(*arrays, **more):
    file = io.BytesIO()
    for array in arrays:
        np.save(file, array, **more)
    return file.getvalue()


BYTES, RANGES = np.zeros((2, 3, 4), np.uint8), np.zeros((2, 2, 3), np.float32)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x93NUMPY\x01\x00", npy(BYTES), npy(BYTES, RANGES)[:-1], npy(BYTES, RANGES) + b"x",
        npy(BYTES, RANGES[:, :, :2]), npy(BYTES, RANGES.astype(np.float64)), npy(BYTES, BYTES), npy(BYTES[0], RANGES),
        npy(RANGES), npy(np.asfortranarray(BYTES), RANGES), npy(BYTES[:, :0], RANGES),
        npy(np.array([{}], dtype=object), allow_pickle=True), npy(np.zeros((2, 3, 4), np.float16), RANGES),
    ],
)  # fmt: skip
def test_other_files_are_refused(data):
    with pytest.raises(ValueError):  # noqa: PT011 (NumPy has words of its own)
        read_latent(data)


def test_vectors_are_float16():
    vectors = DRAW.standard_normal((3, 5))
    np.testing.assert_array_equal(read_half(half_file(vectors)), vectors.astype(np.float16))
    with pytest.raises(ValueError):  # noqa: PT011 (NumPy has words of its own)
        read_half(npy(BYTES))
