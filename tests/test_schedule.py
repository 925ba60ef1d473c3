"""The schedule: moving down and up again is standing still, and every number is diffusers' own."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

import tiny
from motif.base import Base
from motif.errors import InputError
from motif.schedule import CLEAN, Schedule, draw_noise

PREDICTIONS = ("epsilon", "v_prediction", "sample")
STABLE = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
    "set_alpha_to_one": False, "clip_sample": False,
}  # fmt: skip


def stable(prediction: str = "epsilon", **extra: Any) -> Schedule:
    return Schedule.read({**STABLE, "prediction_type": prediction, **extra})


SCHEDULES = {prediction: stable(prediction) for prediction in PREDICTIONS}
times = st.integers(0, 999)
any_prediction = st.sampled_from(PREDICTIONS)


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(
        *(shape or (2, 4, 3, 5)), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def output_for(schedule: Schedule, x: torch.Tensor, eps: torch.Tensor, t: int) -> torch.Tensor:
    """What a network that predicts ε would have answered in this schedule's terms."""
    a, b = schedule.at(t) ** 0.5, (1 - schedule.at(t)) ** 0.5
    x0 = (x - b * eps) / a
    return {"epsilon": eps, "v_prediction": a * eps - b * x0, "sample": x0}[schedule.prediction]


@given(any_prediction, times, times, st.integers(0, 99))
def test_down_and_up_with_the_same_noise_is_standing_still(prediction, t, s, seed):
    schedule, x, eps = SCHEDULES[prediction], noise(seed), noise(seed + 100)
    there = schedule.move(x, output_for(schedule, x, eps, t), t, s)
    back = schedule.move(there, output_for(schedule, there, eps, s), s, t)
    assert torch.allclose(back, x, rtol=1e-9, atol=1e-9)


@given(any_prediction, times, st.integers(0, 99))
def test_splitting_what_was_mixed_gives_it_back(prediction, t, seed):
    schedule, x0, eps = SCHEDULES[prediction], noise(seed), noise(seed + 100)
    index = torch.tensor([t, t])
    x = schedule.noise(x0, eps, index)
    found = schedule.split(x, schedule.target(x0, eps, index), t)
    assert torch.allclose(found[0], x0, rtol=1e-7, atol=1e-7)
    assert torch.allclose(found[1], eps, rtol=1e-6, atol=1e-6) or (prediction == "sample" and t < 5)


def test_every_image_has_its_own_time():
    schedule, x0, eps = stable(), noise(0), noise(1)
    mixed = schedule.noise(x0, eps, torch.tensor([3, 900]))
    assert torch.equal(mixed[:1], schedule.noise(x0[:1], eps[:1], torch.tensor([3])))
    assert torch.equal(mixed[1:], schedule.noise(x0[1:], eps[1:], torch.tensor([900])))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_mixing_and_target_are_diffusers_own(prediction):
    schedule, theirs = (
        stable(prediction),
        DDPMScheduler.from_config({**STABLE, "prediction_type": prediction}),
    )
    x0, eps, t = noise(0).float(), noise(1).float(), torch.tensor([17, 801])
    assert torch.allclose(schedule.noise(x0, eps, t), theirs.add_noise(x0, eps, t), atol=1e-6)
    wanted = {"epsilon": eps, "sample": x0, "v_prediction": theirs.get_velocity(x0, eps, t)}[prediction]
    assert torch.allclose(schedule.target(x0, eps, t), wanted, atol=1e-6)


@given(times, times)
def test_eta_one_leaves_the_posterior_variance(t, s):
    """σ² of DDIM at η = 1 is DDPM's β̃ = (1−ᾱ_s)/(1−ᾱ_t) (1 − ᾱ_t/ᾱ_s), and x_s keeps the marginal's total variance."""
    if s >= t:
        s, t = min(s, t), max(s, t) + (s == t)
    if t > 999:
        return
    schedule, zero, one = stable(), torch.zeros(1, 1, 1, 1).double(), torch.ones(1, 1, 1, 1).double()
    sigma = float(schedule.move(zero, zero, t, s, eta=1.0, noise=one))
    at_t, at_s = float(schedule.alpha_bar[t]), float(schedule.alpha_bar[s])
    assert sigma**2 == pytest.approx((1 - at_s) / (1 - at_t) * (1 - at_t / at_s), rel=1e-6)
    eps_part = (
        float(schedule.move(zero, one, t, s, eta=1.0, noise=zero)) + at_s**0.5 * ((1 - at_t) / at_t) ** 0.5
    )
    assert eps_part**2 + sigma**2 == pytest.approx(1 - at_s, rel=1e-5)


def test_eta_needs_noise_to_act_and_zero_eta_ignores_it():
    schedule, x, eps, z = stable(), noise(0), noise(1), noise(2)
    assert torch.equal(schedule.move(x, eps, 500, 400, noise=z), schedule.move(x, eps, 500, 400))
    assert not torch.equal(schedule.move(x, eps, 500, 400, eta=1.0, noise=z), schedule.move(x, eps, 500, 400))


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@given(steps=st.integers(1, 999) | st.sampled_from([25, 50, 497]))
def test_timesteps_are_diffusers_own(spacing, steps):
    config = {**STABLE, "timestep_spacing": spacing}
    theirs = DDIMScheduler.from_config(config)
    theirs.set_timesteps(steps)
    ours = Schedule.read(config).timesteps(steps)
    assert ours == tuple(
        t for t in theirs.timesteps.tolist() if t >= 0
    )  # 497 trailing steps are 498, the last is -1
    assert len(ours) == steps
    assert all(a > b >= 0 for a, b in pairwise(ours))


def test_a_thousand_steps_visit_every_timestep_once():
    """diffusers' leading spacing would start at 1000, which its own table does not have."""
    assert stable().timesteps(1000) == tuple(range(999, -1, -1))


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_steps_outside_the_schedule_are_refused(steps):
    with pytest.raises(InputError, match="between 1 and 1000"):
        stable().timesteps(steps)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_step_is_diffusers_step(prediction, eta):
    config = {**STABLE, "prediction_type": prediction}
    schedule, theirs = Schedule.read(config), DDIMScheduler.from_config(config)
    theirs.set_timesteps(20)
    x, output, z = noise(0).float(), noise(1).float(), noise(2).float()
    walk = schedule.timesteps(20)
    for t, s in zip(walk, [*walk[1:], CLEAN], strict=True):
        wanted = theirs.step(output, t, x, eta=eta, variance_noise=z if eta else None).prev_sample
        ours = schedule.move(x, output, t, s, eta=eta, noise=z)
        assert torch.allclose(ours, wanted, rtol=1e-5, atol=1e-5), (t, s)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # diffusers says so too
@pytest.mark.parametrize("family", ["sd1", "sd2-v", "sdxl"])
def test_a_folder_s_timesteps_are_those_of_its_stock_pipeline(family, tmp_path):
    """diffusers' pipeline of SD1 and SD2 sets steps_offset to 1, whatever the file says; SDXL's does not."""
    from diffusers import DDIMScheduler, DiffusionPipeline

    pipe = tiny.pipeline(family)
    pipe.scheduler = DDIMScheduler.from_config({**pipe.scheduler.config, "steps_offset": 0})
    pipe.save_pretrained(tmp_path)
    stock = DiffusionPipeline.from_pretrained(tmp_path, local_files_only=True).scheduler
    stock.set_timesteps(50)
    times = Base.load(str(tmp_path)).schedule.timesteps(50)
    assert list(times) == stock.timesteps.tolist() and times[-1] == (0 if family == "sdxl" else 1)


def test_any_scheduler_config_is_read():
    """A base may ship with another sampler; its ᾱ and its prediction are the same, whatever else it says."""
    euler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction"
    )
    read = Schedule.read(euler.config)
    assert read.prediction == "v_prediction"
    assert torch.equal(read.alpha_bar, stable().alpha_bar)


def test_clipping_is_never_applied_to_latents():
    """DDPM's default clips x₀ to [-1, 1]; latents are wider."""
    schedule = Schedule.read({**STABLE, "clip_sample": True, "thresholding": True})
    assert not schedule.config["clip_sample"] and not schedule.config["thresholding"]


def test_zero_terminal_snr_is_walked_with_v():
    schedule = stable("v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")
    assert schedule.at(999) < 1e-6
    moved = schedule.move(noise(0), noise(1), 999, 899, eta=1.0, noise=noise(2))
    assert torch.isfinite(moved).all()


def test_an_unknown_prediction_is_refused():
    with pytest.raises(InputError, match="flow"):
        Schedule.read({**STABLE, "prediction_type": "flow"})


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=4))
def test_noise_of_an_image_is_its_seeds_alone(seeds):
    together = draw_noise((4, 3, 5), [torch.Generator().manual_seed(s) for s in seeds], torch.zeros(1))
    for image, seed in zip(together, seeds, strict=True):
        assert torch.equal(
            image, draw_noise((4, 3, 5), [torch.Generator().manual_seed(seed)], torch.zeros(1))[0]
        )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}, "FlowMatch"),
        ({"_class_name": "EDMDPMSolverMultistepScheduler", "sigma_data": 0.5}, "EDM"),
        ({**STABLE, "sigma_data": 0.5}, "no steps"),
        ({**STABLE, "timestep_spacing": "uneven"}, "cannot be read as DDIM"),
        ({**STABLE, "beta_schedule": "steep"}, "cannot be read as DDIM"),
    ],
)
def test_a_schedule_that_ddim_cannot_walk_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Schedule.read(config)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_what_is_lent_means_the_same_noise(prediction: str):
    """And nothing is lent of a latent without any picture in it (ᾱ = 0)."""
    schedule = Schedule(torch.tensor([0.9, 0.3, 0.0]).double(), 1.0, prediction, {})  # type: ignore[arg-type]
    output, x, other = torch.randn(3, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0)).unbind(0)
    for t in (0, 1):
        lent = schedule.lent(output, x, other, t)
        assert torch.allclose(schedule.split(other, lent, t)[1], schedule.split(x, output, t)[1], atol=1e-5)
    assert torch.equal(schedule.lent(output, x, other, 2), output)
    assert torch.equal(schedule.lent(output, x, x, 1), output)
