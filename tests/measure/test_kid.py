"""KID: torchmetrics' and the definition's numbers, unbiasedness, and an error that is a jackknife's."""

import itertools
import sys

import pytest
import torch

from motif.errors import InputError, MissingModel
from motif.measure import kid
from motif.measure.kid import kid_of, of_twins, unbiased


def draw(n, d=8, seed=0, shift=0.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def kernel(a, b):
    return (float(a @ b) / len(a) + 1) ** 3


def directly(x, r):
    """Bińkowski et al., eq. 4, term by term."""
    n, m = len(x), len(r)
    a = sum(kernel(x[i], x[j]) for i, j in itertools.permutations(range(n), 2)) / (n * (n - 1))
    b = sum(kernel(r[i], r[j]) for i, j in itertools.permutations(range(m), 2)) / (m * (m - 1))
    return a + b - 2 * sum(kernel(p, q) for p in x for q in r) / (n * m)


@pytest.mark.parametrize(("n", "m"), [(3, 3), (4, 7), (6, 5)])
def test_it_is_the_definition(n, m):
    x, r = draw(n), draw(m, seed=1, shift=0.5)
    whole, per_image, per_reference = unbiased(x, r)
    assert whole == pytest.approx(directly(x, r), rel=1e-10)
    assert float(per_image.mean()) == pytest.approx(whole, rel=1e-10)
    assert float(per_reference.mean()) == pytest.approx(whole, rel=1e-10)
    without = [directly(torch.cat([x[:i], x[i + 1 :]]), r) for i in range(n)]
    assert per_image.tolist() == pytest.approx([n * whole - (n - 1) * left for left in without])


@pytest.mark.filterwarnings("ignore:Metric .Kernel Inception Distance. will save all")
def test_it_is_torchmetrics(clip, pictures, picture):
    from torchmetrics.image.kid import KernelInceptionDistance

    class Eye(torch.nn.Module):
        num_features = 16

        def forward(self, x):
            return x

    references = [picture(60 + i) for i in range(5)]
    theirs = KernelInceptionDistance(Eye(), subsets=1, subset_size=5)
    theirs.update(clip.images(references).double(), real=True)
    theirs.update(clip.images(pictures).double(), real=False)
    mean, _ = theirs.compute()
    score = kid(pictures, references, encoder=clip)
    assert score.mean == pytest.approx(float(mean), rel=1e-4)
    assert score.also["x 10^3"] == pytest.approx(1e3 * score.mean)
    assert score.also["mean of subsets x 10^3"] == pytest.approx(1e3 * score.mean)
    assert score.also["deviation of subsets x 10^3"] == 0


def test_two_sets_of_one_distribution_have_none_on_average():
    """Unbiased: the mean over many draws is 0 within its error, and single ones are negative as often."""
    found = torch.tensor([unbiased(draw(12, seed=i), draw(9, seed=1000 + i))[0] for i in range(400)])
    assert abs(float(found.mean())) < 3 * float(found.std()) / 20
    assert 0.3 < float((found < 0).double().mean()) < 0.8
    moved = torch.tensor(
        [unbiased(draw(12, seed=i), draw(9, seed=1000 + i, shift=1.0))[0] for i in range(50)]
    )
    assert float(moved.min()) > 0


def test_its_error_is_how_far_other_pictures_would_move_it(clip):
    r = draw(20, seed=5, shift=0.4)
    scores = [kid_of(draw(30, seed=i), r, clip) for i in range(200)]
    spread = torch.tensor([score.mean for score in scores]).std()
    said = torch.tensor([score.standard_error for score in scores]).mean()
    assert float(said) == pytest.approx(float(spread), rel=0.25)


def test_subsets_converge_to_all_pairs_and_depend_on_the_seed_alone(clip):
    x, r = draw(40), draw(30, seed=1, shift=0.5)
    score = kid_of(x, r, clip, subsets=600, subset_size=15)
    assert score.also["mean of subsets x 10^3"] == pytest.approx(score.also["x 10^3"], rel=0.1)
    assert score.also["deviation of subsets x 10^3"] > 0
    again, other = (kid_of(x, r, clip, subsets=5, subset_size=15, seed=seed) for seed in (0, 1))
    assert again.also == kid_of(x, r, clip, subsets=5, subset_size=15).also
    assert other.also["mean of subsets x 10^3"] != again.also["mean of subsets x 10^3"]
    assert "600 of 15, seed 0" in str(score.choices["subsets"])


def test_it_is_symmetric_and_order_and_blocks_change_nothing(monkeypatch):
    x, r = draw(7), draw(5, seed=1, shift=0.3)
    whole, per_image, per_reference = unbiased(x, r)
    assert unbiased(r, x)[0] == pytest.approx(whole)
    torch.testing.assert_close(unbiased(r, x)[1], per_reference)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    torch.testing.assert_close(unbiased(x[order], r.flip(0))[1], per_image[order])
    monkeypatch.setattr(sys.modules["motif.measure.kid"], "ROWS", 2)
    torch.testing.assert_close(unbiased(x, r)[1], per_image)


def test_twins_that_are_equal_have_none_at_all():
    x = draw(6)
    assert of_twins(x, x)[0] == pytest.approx(0, abs=1e-12)
    assert of_twins(x, x)[1].abs().max() < 1e-12
    r = draw(6, seed=1, shift=0.5)
    n = len(x)
    cross = sum(kernel(x[i], r[j]) for i, j in itertools.permutations(range(n), 2)) / (n * (n - 1))
    own = directly(x, r) + 2 * sum(kernel(p, q) for p in x for q in r) / n**2
    whole, pseudo, _ = of_twins(x, r)
    assert whole == pytest.approx(own - 2 * cross)
    left = of_twins(x[1:], r[1:])[0]
    assert float(pseudo[0]) == pytest.approx(n * whole - (n - 1) * left)


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_batch_size_changes_nothing(dino, pictures, references, batch_size):
    wanted = kid(pictures, references, encoder=dino).per_image
    assert kid(pictures, references, encoder=dino, batch_size=batch_size).per_image == pytest.approx(
        wanted, rel=1e-3
    )


def test_features_choose_the_encoder(clip, dino, clip_folder, dino_folder, pictures, references):
    by_clip = kid(pictures, references, encoder=clip)
    assert kid(pictures, references, encoder=clip_folder, features="clip").per_image == by_clip.per_image
    assert (
        kid(pictures, references, encoder=dino_folder).per_image
        == kid(pictures, references, encoder=dino).per_image
    )
    with pytest.raises(InputError, match="DinoEncoder"):
        kid(pictures, references, encoder=dino, features="clip")


def test_what_cannot_be_scored_is_refused(clip, pictures, references, tmp_path, monkeypatch):
    for bad in ({"subsets": -1}, {"subset_size": 2}):
        with pytest.raises(InputError, match="subsets"):
            kid(pictures, references, encoder=clip, **bad)
    with pytest.raises(InputError, match="needs 3 of each"):
        kid(pictures[:2], references, encoder=clip)
    with pytest.raises(InputError, match="pocket has no Inception"):
        kid(pictures, references, features="inception")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingModel, match=r"inception-2015-12-05\.pt.*https://") as caught:
        kid(pictures, references, encoder="paper")
    assert caught.value.exit_code == 3 and "\n" not in str(caught.value)
