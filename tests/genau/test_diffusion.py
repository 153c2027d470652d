"""Schedule, noising, loss, seeds and DDIM against the reference."""

import numpy as np
import pytest
import torch

from genau.ddim import ddim, ddim_steps, ddim_times, reference_times
from genau.diffusion import STEPS, Schedule, losses, seed_of, start_noise
from tests.genau_fill import golden, normals, one_hot, small_fit

SIZE = (2, 16, 64, 1)


def latent(tag):
    return normals(tag, SIZE)[..., 0]


def test_the_schedule_is_the_references():
    found = golden("schedule")
    np.testing.assert_array_equal(Schedule().alphas_cumprod.numpy(), found["alphas_cumprod_full"])


@pytest.mark.parametrize("prediction", ["noise", "velocity"])
def test_the_noise_follows_from_what_is_predicted_at_every_time(prediction):
    schedule, t_B = Schedule(), torch.tensor([0, 1, 500, 999])
    clean, noise = torch.randn(2, 4, 3, 5)
    noised = schedule.noised(clean, noise, t_B)
    said = schedule.target(prediction, clean, noise, t_B)
    torch.testing.assert_close(schedule.noise_told(prediction, said, noised, t_B), noise)


def test_of_pure_noise_the_velocity_says_the_sound():
    clean, noise = torch.randn(2, 1, 3, 5)
    said = Schedule().target("velocity", clean, noise, torch.tensor([999]))
    assert float((said + clean).abs().mean()) < 0.02


@pytest.mark.parametrize("count", [5, 10, 100, 200])
def test_ddim_steps_are_the_references(count):
    found = golden("schedule")
    steps = ddim_steps(Schedule(), reference_times(count, STEPS))
    assert ddim_times(count, STEPS) == [step.t for step in steps] == found[f"ddim{count}_timesteps"].tolist()
    np.testing.assert_array_equal([step.alpha_before for step in steps], found[f"ddim{count}_alphas_prev"])
    for eta in (0, 1):
        np.testing.assert_allclose(
            [step.sigma(eta) for step in steps], found[f"ddim{count}_sigmas_eta{eta}"], atol=1e-7
        )


def test_counts_that_crash_the_reference_are_known_and_ours_do_not():
    crash = set(golden("schedule")["ddim_steps_that_crash"].tolist())
    for count in crash:
        with pytest.raises(ValueError, match="beyond the schedule"):
            reference_times(count, STEPS)
    assert all(reference_times(count, STEPS) for count in range(1, 301) if count not in crash)
    for count in range(1, STEPS + 1):
        times = ddim_times(count, STEPS)
        assert len(set(times)) == count
        assert (times[0], times[-1] < STEPS) == (int(count < STEPS), True)
    with pytest.raises(ValueError, match="1 to 1000 steps, not 1001"):
        ddim_times(1001, STEPS)


def test_ddim_with_and_without_guidance_at_both_etas():
    found, net = golden("ddim_small"), small_fit()
    text, nothing = normals("text", (2, 48), 0.1), normals("uncond", (2, 48), 0.1)

    def guided(scale):
        def denoise(x, t_B, latents):
            said, latents_after = net(x, t_B, text, one_hot([0, 9]), latents)
            if scale is None:
                return said, latents_after
            unsaid, _ = net(x, t_B, nothing, one_hot([0, 0]), latents)
            return unsaid + scale * (said - unsaid), latents_after

        return denoise

    steps = ddim_steps(Schedule(), reference_times(5, STEPS))
    for eta in (0, 1):
        for scale, name in ((4.0, "sample"), (None, "sample_noguid")):
            seen = []
            with torch.no_grad():
                sample = ddim(
                    guided(scale),
                    latent("x_T"),
                    steps,
                    eta=float(eta),
                    noises=iter([latent(f"noise{at}") for at in range(5)]),
                    on_step=lambda x, clean, seen=seen: seen.append((x[:, :4], clean[:, :4])),
                )
            np.testing.assert_allclose(sample.numpy(), found[f"{name}_eta{eta}"][..., 0], rtol=1e-3, atol=1e-4)
            if scale is not None:
                for at, key in enumerate(("x_steps", "pred_x0_steps")):
                    ours = torch.stack([pair[at] for pair in seen]).numpy()
                    np.testing.assert_allclose(ours, found[f"{key}_eta{eta}"][..., 0], rtol=1e-3, atol=1e-4)


def test_noise_from_a_files_name_is_the_references():
    found = golden("ddim_small")
    seed = seed_of("Horses_growl_and_clop_hooves.")
    assert seed == int(found["seed_for_prompt"])
    noise = start_noise(seed, 2, (64, 256, 1))[:, :4, :8, 0]
    np.testing.assert_array_equal(noise.numpy(), found["x_T_for_prompt_Horses_growl_and_clop_hooves._first4ch_first8"])


def test_noising_and_the_training_loss():
    found, schedule, t_B = golden("ddim_small"), Schedule(), torch.tensor([17, 803])
    noised = schedule.noised(latent("x_0"), latent("eps"), t_B)
    np.testing.assert_allclose(noised[:, :4, :8].numpy(), found["q_sample_head"][..., 0], atol=1e-6)
    with torch.no_grad():
        predicted, _ = small_fit()(noised, t_B, normals("text", (2, 48), 0.1), one_hot([0, 9]))
    assert float(losses(predicted, latent("eps")).mean()) == pytest.approx(float(found["p_loss_t17_803"]), rel=1e-5)
    torch.testing.assert_close(schedule.clean(noised, latent("eps"), t_B), latent("x_0"), atol=1e-3, rtol=1e-3)
