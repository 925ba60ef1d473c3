"""FID: torchmetrics' numbers, what two Gaussians' distance must be, and an error that is a jackknife's."""

import pytest
import torch

from motif.errors import InputError, MissingModel
from motif.measure import fid
from motif.measure.fid import frechet
from motif.methods import less_is_better


def draw(n, d=4, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plainly(x, r):
    """Heusel et al.: with the root of the covariances' product, by its eigenvalues."""
    product = torch.cov(x.mT) @ torch.cov(r.mT)
    roots = torch.linalg.eigvals(product).sqrt().real.sum()
    apart = x.mean(0) - r.mean(0)
    return float(apart @ apart + torch.cov(x.mT).trace() + torch.cov(r.mT).trace() - 2 * roots)


def weighted(x, r, weights):
    """The same where each of x has a weight; n/(n-1) of a covariance with equal ones is the unbiased one."""
    mean = weights @ x
    sigma = ((x - mean).mT * weights) @ (x - mean) * len(x) / (len(x) - 1)
    roots = torch.linalg.eigvals(sigma @ torch.cov(r.mT)).sqrt().real.sum()
    apart = mean - r.mean(0)
    return float(apart @ apart + sigma.trace() + torch.cov(r.mT).trace() - 2 * roots)


@pytest.mark.parametrize(("n", "m", "d"), [(40, 30, 4), (5, 60, 3), (50, 50, 2), (9, 9, 8)])
def test_it_is_the_definition(n, m, d):
    x, r = draw(n, d), draw(m, d, seed=1) * 2 + 0.3
    whole, per_image = frechet(x, r)
    assert whole == pytest.approx(plainly(x, r), rel=1e-7)
    assert per_image.shape == (n,) and float(per_image.mean()) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(("n", "d"), [(60, 5), (4, 32), (2, 16)])
def test_laws_of_a_distance_of_gaussians(n, d):
    """Also of fewer pictures than channels, whose covariances are singular."""
    x, r, shift = draw(n, d), draw(n + 1, d, seed=1), draw(1, d, seed=2)
    assert frechet(x, x)[0] == pytest.approx(0, abs=1e-12)
    assert frechet(x, x + shift)[0] == pytest.approx(float((shift**2).sum()), rel=1e-12)
    assert frechet(x, r)[0] == pytest.approx(frechet(r, x)[0], rel=1e-12)
    assert frechet(x, x.mean(0) + 3 * (x - x.mean(0)))[0] == pytest.approx(
        4 * float(torch.cov(x.mT).trace()), rel=1e-12
    )
    turn, _ = torch.linalg.qr(draw(d, d, seed=3))
    assert frechet(x @ turn, r @ turn)[0] == pytest.approx(frechet(x, r)[0], rel=1e-10)


def test_of_one_channel_it_is_the_distance_of_means_and_of_deviations():
    x, r = draw(30, 1), 2 * draw(20, 1, seed=1) + 1
    wanted = float((x.mean() - r.mean()) ** 2 + (x.std() - r.std()) ** 2)
    assert frechet(x, r)[0] == pytest.approx(wanted, rel=1e-12)


def test_a_picture_s_value_is_fid_and_its_derivative_towards_the_picture():
    x, r, step = draw(12), draw(40, seed=1) * 1.5 + 0.2, 1e-5
    whole, per_image = frechet(x, r)
    even = torch.full((12,), 1 / 12, dtype=torch.float64)
    for i in range(12):
        towards = torch.eye(12, dtype=torch.float64)[i] - even
        up, down = (weighted(x, r, even + sign * step * towards) for sign in (1, -1))
        assert float(per_image[i]) - whole == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-6)


def test_its_error_is_the_jackknife_s_and_that_of_other_pictures():
    n, r = 300, draw(400, seed=1) * 1.5 + 0.5
    x = draw(n, seed=2)
    whole, per_image = frechet(x, r)
    left = torch.tensor([frechet(torch.cat([x[:i], x[i + 1 :]]), r)[0] for i in range(n)])
    jackknife = float((n * whole - (n - 1) * left).std() / n**0.5)
    error = float(per_image.std() / n**0.5)
    assert error == pytest.approx(jackknife, rel=0.03)
    again = torch.tensor([frechet(draw(n, seed=10 + i), r)[0] for i in range(200)])
    assert error == pytest.approx(float(again.std()), rel=0.25)


def test_it_is_biased_upwards_for_few_pictures():
    same = [
        sum(frechet(draw(n, seed=i), draw(n, seed=100 + i))[0] for i in range(20)) / 20 for n in (10, 40, 160)
    ]
    assert same[0] > 2 * same[1] > 4 * same[2] > 0


def test_it_is_torchmetrics(clip, pictures, picture):
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Eye(torch.nn.Module):
        num_features = 16

        def forward(self, x):
            return x

    references = [picture(60 + i) for i in range(5)]
    theirs = FrechetInceptionDistance(Eye(), input_img_size=(1, 1, 16))
    theirs.set_dtype(torch.float64)
    theirs.update(clip.images(references).double(), real=True)
    theirs.update(clip.images(pictures).double(), real=False)
    score = fid(pictures, references, encoder=clip)
    assert score.mean == pytest.approx(float(theirs.compute()), rel=1e-4)
    assert score.choices["pictures"] == (
        f"{len(pictures)} generated and 5 references, 16 channels; fewer than 17: no covariance of full rank"
    )
    assert score.n == len(pictures) and score.standard_error and "upwards" in str(score.choices["bias"])


def test_what_it_cannot_be_of_is_refused(clip, pictures):
    for few in ((pictures[:1], pictures), (pictures, pictures[:1])):
        with pytest.raises(InputError, match=r"FID of \d pictures and \d references: it needs 2 of each"):
            fid(*few, encoder=clip)
    assert fid(pictures[:2], pictures[:2], encoder=clip).mean == pytest.approx(0, abs=1e-9)
    with pytest.raises(InputError, match="pocket has no Inception"):
        fid(pictures, pictures, features="inception")
    with pytest.raises(MissingModel):
        fid(pictures, pictures, encoder="no/such-encoder")


def test_less_of_it_is_better():
    assert less_is_better("fid")
