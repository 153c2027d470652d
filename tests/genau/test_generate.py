"""Generation: the reference's guidance in one pass, the same sound in any batch, and refusals before any work."""

import numpy as np
import pytest
import torch

from genau.card import GenauCard, VaeRef
from genau.ddim import ddim, ddim_steps, ddim_times, reference_times
from genau.diffusion import STEPS, Schedule
from genau.dpm import dpm
from genau.generate import GenauGenerator, Parts
from generation.errors import GenerationError
from generation.generator import Prompt, Settings, seed_of_draw
from tests.genau_fill import golden, normals, small_fit
from tests.genau_small import SAMPLES, Words, fit, generator

FAST = Settings(steps=4)
PROMPTS = [Prompt("rain"), Prompt("a dog"), Prompt("rain", draw=1), Prompt("wind"), Prompt("a dog", draw=2)]


@pytest.fixture(scope="module")
def small():
    return generator()


class Golden:
    """The prompt's and the empty prompt's vectors of the golden run, for one of its two clips."""

    name, weights_sha256, independent, width = "golden", "", True, 48

    def __init__(self, row):
        self._row = row

    def embed(self, texts):
        return np.stack([normals("text" if text else "uncond", (2, 48), 0.1)[self._row].numpy() for text in texts])


class NoCodec(torch.nn.Module):
    """The golden run ends at latents."""

    class shape:  # noqa: N801
        shortens = 4


@pytest.mark.parametrize(("row", "dataset"), [(0, "audiocaps"), (1, "autocap")])
@pytest.mark.parametrize("eta", [0, 1])
def test_guidance_in_one_pass_is_the_references_in_two(row, dataset, eta):
    found, net = golden("ddim_small"), small_fit()
    card = GenauCard(
        model_id="golden", shape=net.shape, scale_factor=1.0, datasets={"audiocaps": 0, "autocap": 9}, unconditional=0,
        conditioners=(), vae=VaeRef(model="", weights_sha256=""),
    )  # fmt: skip
    made = GenauGenerator(Parts(card, net, NoCodec(), Golden(row), {}), dataset=dataset)
    denoise = made.denoiser(
        normals("text", (2, 48), 0.1)[row : row + 1], Settings(guidance=4.0, self_conditioning=True)
    )
    noises = iter([normals(f"noise{at}", (2, 16, 64, 1))[row : row + 1, ..., 0] for at in range(5)])
    start = normals("x_T", (2, 16, 64, 1))[row : row + 1, ..., 0]
    with torch.inference_mode():
        steps = ddim_steps(Schedule(), reference_times(5, STEPS))
        sample = ddim(denoise, start, steps, eta=float(eta), noises=noises)
    np.testing.assert_allclose(sample[0].numpy(), found[f"sample_eta{eta}"][row, ..., 0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("settings", [FAST, Settings(steps=4, solver="dpm"), Settings(steps=4, guidance=1.0)])
def test_a_sound_is_the_same_alone_and_in_any_batch(small, settings):
    together = generator(clips_at_once=5).generate(PROMPTS, settings)
    assert together.shape == (5, SAMPLES)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.abs(together).max(axis=1), 0.8, atol=1e-6)
    by_two = generator(clips_at_once=2).generate(PROMPTS[::-1], settings)[::-1]
    alone = [small.generate([prompt], settings)[0] for prompt in PROMPTS[:2]]
    np.testing.assert_allclose(by_two, together, atol=1e-3)
    np.testing.assert_allclose(alone, together[:2], atol=1e-3)
    assert len({wave.tobytes() for wave in together}) == 5


def test_what_is_drawn_follows_from_seed_text_and_draw(small):
    seeds = {
        seed_of_draw(seed, Prompt(text, draw, name))
        for seed in (0, 1)
        for text in ("rain", "a dog", "\ud800")
        for draw in (0, 1)
        for name in ("", "other")
    }
    assert len(seeds) == 12
    assert all(0 <= seed < 2**63 for seed in seeds)
    first, again, other = (
        small.generate([Prompt("rain")], Settings(steps=3, seed=seed, eta=eta))[0]
        for seed, eta in ((0, 1.0), (0, 1.0), (1, 1.0))
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first, small.generate([Prompt("rain")], Settings(steps=3, eta=0.0))[0])


def test_seeds_by_name_are_the_references(small):
    name = "Horses_growl_and_clop_hooves."
    by_name = Settings(steps=3, eta=0.0, seeds="name")
    waves = small.generate([Prompt("rain", draw, name) for draw in (0, 1)] + [Prompt("rain", 0, "other")], by_name)
    other_seed = small.generate([Prompt("rain", 0, name)], Settings(steps=3, eta=0.0, seeds="name", seed=7))
    np.testing.assert_allclose(waves[0], other_seed[0], atol=1e-3)
    assert not np.allclose(waves[0], waves[1], atol=1e-2)
    assert not np.allclose(waves[0], waves[2], atol=1e-2)
    with pytest.raises(GenerationError, match="needs the name of its file"):
        small.generate([Prompt("rain")], by_name)


def test_a_condition_is_never_dropped_and_guidance_matters(small):
    """Forty draws of one start: with a tenth dropped, as the reference does, some would differ."""
    net, seen = fit(), []
    net.register_forward_pre_hook(lambda _, given: seen.append(given[2].clone()))
    made = generator(net)
    made.generate([Prompt("rain")], Settings(steps=40, guidance=3.0))
    words = torch.from_numpy(Words().embed(["rain", ""]))
    assert len(seen) == 40
    assert all(torch.equal(text, words) for text in seen)
    one, three = (small.generate([Prompt("rain")], Settings(steps=4, guidance=scale))[0] for scale in (1.0, 3.0))
    assert not np.allclose(one, three)


def test_a_net_of_the_velocity_is_asked_for_it():
    """The same numbers, taken for what the card says they are."""
    x, t_B, said_BE = torch.randn(1, 8, 32), torch.tensor([700]), torch.from_numpy(Words().embed(["rain"]))
    with torch.inference_mode():
        said, _ = generator(fit()).denoiser(said_BE, Settings(guidance=3.0))(x, t_B, None)
        made = generator(fit(), prediction="velocity")
        noise, _ = made.denoiser(said_BE, Settings(guidance=3.0))(x, t_B, None)
        signal = made.schedule.alphas_cumprod[700]
        torch.testing.assert_close(noise, signal.sqrt() * said + (1 - signal).sqrt() * x)


def test_latent_tokens_are_handed_over_only_where_asked():
    net, seen = fit(), []
    net.register_forward_pre_hook(lambda _, given: seen.append(given[4]))
    made = generator(net)
    made.generate([Prompt("rain")], FAST)
    assert seen == [None] * 4
    seen.clear()
    made.generate([Prompt("rain"), Prompt("wind")], Settings(steps=4, self_conditioning=True))
    assert seen[0] is None
    assert all(torch.equal(tokens[:2], tokens[2:]) for tokens in seen[1:])


def test_duration_cuts_and_too_much_is_refused(small):
    whole = small.generate([Prompt("rain")], FAST)
    short = small.generate([Prompt("rain")], Settings(steps=4, duration_s=0.5))
    assert short.shape == (1, 8000)
    scale = np.abs(short).max() / np.abs(whole[:, :8000]).max()
    np.testing.assert_allclose(short, whole[:, :8000] * scale, atol=1e-4)
    assert small.longest_s == 1.28
    for wrong in (1.29, 0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(GenerationError, match=r"small makes clips of up to 1\.28 s, not of"):
            small.generate([Prompt("rain")], Settings(steps=4, duration_s=wrong))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (Settings(steps=0), "takes 1 to 1000 steps, not 0"),
        (Settings(steps=1001), "takes 1 to 1000 steps, not 1001"),
        (Settings(steps=1000, solver="dpm"), "takes 1 to 999 steps, not 1000"),
        (Settings(steps=101, reference_steps=True), "reference cannot take 101 steps"),
        (Settings(guidance=float("inf")), "guidance must be a finite number"),
        (Settings(eta=2.0), "eta from 0 to 1"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused_before_anything_is_made(small, settings, told):
    with pytest.raises(GenerationError, match=told):
        small.generate([Prompt("rain")], settings)


def test_any_number_of_steps_is_as_many_as_asked():
    """130 is 143 in the reference, and 300 is none."""
    net, seen = fit(), []
    net.register_forward_pre_hook(lambda _, given: seen.append(int(given[1][0])))
    made = generator(net)
    for steps, counted in ((130, 130), (27, 27)):
        seen.clear()
        made.generate([Prompt("rain")], Settings(steps=steps, guidance=1.0))
        assert len(seen) == counted
        assert seen == sorted(seen, reverse=True)
    seen.clear()
    made.generate([Prompt("rain")], Settings(steps=130, guidance=1.0, reference_steps=True))
    assert len(seen) == 143


def test_memory_that_does_not_suffice_halves_the_batch_until_it_does(caplog):
    """What is made is the same; one clip that does not fit is told."""
    net, room = fit(), [4]

    def allocate(_, given):
        if len(given[0]) > room[0]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 EiB")

    net.register_forward_pre_hook(allocate)
    made = generator(net, clips_at_once=5)
    waves = made.generate(PROMPTS, FAST)
    assert made.clips_at_once == 2  # with and without the prompt: four
    np.testing.assert_allclose(waves, generator(clips_at_once=5).generate(PROMPTS, FAST), atol=1e-3)
    assert [record.getMessage() for record in caplog.records][-1].endswith("3 clips at once: going on with 2")
    room[0] = 1
    with pytest.raises(GenerationError, match="memory on cpu does not suffice for a single clip of small"):
        made.generate(PROMPTS, FAST)


def test_a_cpu_without_memory_is_understood():
    net = fit()
    net.register_forward_pre_hook(lambda _, given: torch.empty(len(given[0]), 2**58))
    with pytest.raises(GenerationError, match="does not suffice for a single clip"):
        generator(net).generate([Prompt("rain")], FAST)


def test_numbers_that_are_not_finite_are_told():
    net = fit()
    with torch.no_grad():
        net.patch_to_pixels[1].bias.fill_(float("nan"))
    with pytest.raises(GenerationError, match="not finite"):
        generator(net).generate([Prompt("rain")], FAST)


def test_progress_goes_from_nothing_to_all(small):
    shares = []
    small.generate(PROMPTS[:3], Settings(steps=3), shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert small.generate([], FAST).shape == (0, SAMPLES)


def test_dpm_comes_to_ddims_sample_and_sooner():
    net, text, schedule = fit(), torch.from_numpy(Words().embed(["rain"])), Schedule()
    start = torch.randn(1, 8, 32, generator=torch.Generator().manual_seed(3))
    hot = torch.zeros(1, 8)

    def denoise(x, t_B, state):
        return net(x, t_B, text, hot)[0], None

    def by_ddim(steps):
        return ddim(denoise, start, ddim_steps(schedule, ddim_times(steps, STEPS)))

    def off(sample):
        return float((sample - finest).abs().mean() / finest.abs().mean())

    with torch.inference_mode():
        finest = by_ddim(STEPS)
        many, few, ddim_few = (
            off(dpm(denoise, schedule, start, 300)),
            off(dpm(denoise, schedule, start, 25)),
            off(by_ddim(25)),
        )
    assert many < 0.02
    assert few < ddim_few
    assert few < 0.1
