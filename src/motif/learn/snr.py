"""Min-SNR: what the error at each timestep counts, so that easy timesteps do not outweigh the others.

    w(t) = min(SNR_t, γ) / SNR_t  for ε,    min(SNR_t, γ) / (SNR_t + 1)  for v,    min(SNR_t, γ)  for x₀

Hang et al. 2023 (arXiv 2303.09556), equations 5 to 8: with SNR_t = ᾱ_t / (1 − ᾱ_t), each is min(SNR_t, γ) of the
squared error of x̂₀. The paper's γ is 5.
"""

from __future__ import annotations

from torch import Tensor

from motif.schedule import Schedule


def min_snr(schedule: Schedule, t: Tensor, gamma: float) -> Tensor:
    """w(t) of every row, in float64; also where SNR_t is 0, at the end of schedules that reach pure noise."""
    alpha_bar = schedule.alpha_bar[t.cpu()]
    snr = alpha_bar / (1 - alpha_bar)
    if schedule.prediction == "epsilon":
        return (gamma / snr).clamp(max=1)
    least = snr.clamp(max=gamma)
    return least / (snr + 1) if schedule.prediction == "v_prediction" else least
