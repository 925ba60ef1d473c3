"""KID: how far two sets of pictures are from one distribution, unbiased, for sets of any size.

    k(a, b) = (aᵀb / d + 1)³
    KID = 1/n(n−1) Σᵢ≠ᵢ′ k(xᵢ, xᵢ′) + 1/m(m−1) Σⱼ≠ⱼ′ k(rⱼ, rⱼ′) − 2/nm Σᵢⱼ k(xᵢ, rⱼ)

Bińkowski et al. 2018, section 4: the squared maximum mean discrepancy of features; papers give KID x 10³ on FID's
Inception, as the mean over 100 random subsets of at most 1,000 (customization card, 4.2). The mean here is over ALL
pairs, what subsets converge to; the subsets' mean and deviation stand beside it. It can be negative: it is unbiased.

The value of picture i is its jackknife pseudo-value n KID − (n−1) KID₋ᵢ: their mean is KID to rounding, their standard
error KID's for other generated pictures; the error for other references stands beside it. (Ours.)
"""

from pathlib import Path
from typing import TYPE_CHECKING

from motif.errors import InputError
from motif.features.extractors import ClipEncoder, DinoEncoder
from motif.features.inception import InceptionEncoder
from motif.features.pictures import Pictures, gather, names
from motif.measure.encoders import Encoder, Features, load_encoder
from motif.measure.score import Score

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 1024  # of a kernel matrix at a time
FEWEST = 3  # pairs without one picture are left to compare with


def kid(
    images: Pictures,
    references: Pictures,
    *,
    encoder: str | Path | ClipEncoder | DinoEncoder | InceptionEncoder = "pocket",
    features: Features = "default",
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
    batch_size: int = 32,
    device: str = "cpu",
) -> Score:
    """Kernel inception distance of generated pictures and references, unbiased; 0 for one distribution.

    A loaded encoder in an encoder's place spares reading it again for every score.

    Args:
        images: the generated pictures: a folder, files, or PIL pictures; two or more.
        references: the real ones, likewise.
        encoder: `pocket`, `paper`, a folder or a hub id; for Inception `paper` or a TorchScript file.
        features: whose features: clip, dino or inception; the default is Inception with `paper`, DINO otherwise.
        subsets: random subsets for the mean over subsets, which papers report; 0 leaves it out.
        subset_size: pictures of each set in a subset, at most.
        seed: of the subsets.
        batch_size: pictures encoded at a time; changes no value beyond rounding (1e-6).
        device: where the encoder computes: cpu, cuda, cuda:1...

    Raises:
        InputError: fewer than three pictures of either kind, an unreadable one, a size that is no size.
        MissingModel: the encoder is not on this machine.
    """
    if subsets < 0 or subset_size < FEWEST:
        raise InputError(f"{subsets} subsets of {subset_size}: use 0 or more, of {FEWEST} or more")
    made, wanted = gather(images, "generated pictures"), gather(references, "reference pictures")
    if min(len(made), len(wanted)) < FEWEST:
        raise InputError(
            f"KID of {len(made)} pictures and {len(wanted)} references: it needs {FEWEST} of each"
        )
    loaded = load_encoder(encoder, features, device)
    x, r = (loaded.images(some, batch_size=batch_size).double() for some in (made, wanted))
    return kid_of(x, r, loaded, subsets=subsets, subset_size=subset_size, seed=seed, images=names(made))


def kid_of(
    x: "Tensor",
    r: "Tensor",
    encoder: Encoder,
    *,
    subsets: int = 0,
    subset_size: int = 1000,
    seed: int = 0,
    images: tuple[str, ...] = (),
    twins: bool = False,
) -> Score:
    """The score of features [n, d] and [m, d], float64; of twins, pair i of both sets is one draw."""
    whole, per_image, per_reference = of_twins(x, r) if twins else unbiased(x, r)
    also = {"x 10^3": whole * 1e3, "error by references": float(per_reference.std() / len(r) ** 0.5)}
    size = min(subset_size, len(x), len(r))
    told = "none"
    if subsets:
        some = _over_subsets(x, r, subsets, size, seed)
        also |= {"mean of subsets x 10^3": float(some.mean()) * 1e3}
        also |= {"deviation of subsets x 10^3": float(some.std(correction=0)) * 1e3}
        told = f"{subsets} of {size}, seed {seed}"
    choices: dict[str, object] = {
        **encoder.choices(),
        "kernel": f"(a.b / {x.shape[1]} + 1)^3, float64",
        "pairs": f"all of {len(x)} generated and {len(r)} references, none with itself"
        + (" or its twin" if twins else "")
        + " (unbiased)",
        "subsets": told,
        "scale": 1.0,
        "standard error": "jackknife over generated pictures",
    }
    return Score("kid", tuple(float(value) for value in per_image), choices, also, images)


def unbiased(x: "Tensor", r: "Tensor") -> "tuple[float, Tensor, Tensor]":
    """KID, and the jackknife pseudo-values of x [n, d] and of r [m, d]; one block of the kernel at a time."""
    n, m = len(x), len(r)
    own_x, own_r = (_sums(a, a) - ((a * a).sum(1) / a.shape[1] + 1) ** 3 for a in (x, r))  # [n], [m]
    across_x, across_r = _sums(x, r), _sums(r, x)
    a, b, c = (float(part.sum()) for part in (own_x, own_r, across_x))
    whole = a / (n * (n - 1)) + b / (m * (m - 1)) - 2 * c / (n * m)
    return (
        whole,
        _pseudo(whole, n, own_x, across_x, a, b / (m * (m - 1)), c, m),
        _pseudo(whole, m, own_r, across_r, b, a / (n * (n - 1)), c, n),
    )


def of_twins(x: "Tensor", r: "Tensor") -> "tuple[float, Tensor, Tensor]":
    """The same of n pairs (xᵢ, rᵢ) drawn together: no picture is compared with its twin either, so that equal sets
    have 0 exactly (the U-statistic of Gretton et al. 2012, lemma 6)."""
    n = len(x)
    own = _sums(x, x) + _sums(r, r) - _sums(x, r) - _sums(r, x)
    alone = ((x * x).sum(1) / x.shape[1] + 1) ** 3 + ((r * r).sum(1) / x.shape[1] + 1) ** 3
    own = own - alone + 2 * ((x * r).sum(1) / x.shape[1] + 1) ** 3  # [n]: over j other than i
    total = float(own.sum())
    whole = total / (n * (n - 1))
    pseudo = n * whole - (total - 2 * own) / (n - 2)
    return whole, pseudo, pseudo


def _pseudo(
    whole: float, n: int, own: "Tensor", across: "Tensor", a: float, rest: float, c: float, m: int
) -> "Tensor":
    """n KID − (n−1) KID₋ᵢ for each i of n."""
    left = (a - 2 * own) / ((n - 1) * (n - 2)) + rest - 2 * (c - across) / ((n - 1) * m)
    return n * whole - (n - 1) * left


def _sums(a: "Tensor", b: "Tensor") -> "Tensor":
    """Σⱼ k(aᵢ, bⱼ): [n]."""
    import torch

    return torch.cat([((part @ b.mT / a.shape[1] + 1) ** 3).sum(1) for part in a.split(ROWS)])


def _over_subsets(x: "Tensor", r: "Tensor", subsets: int, size: int, seed: int) -> "Tensor":
    """[subset]: KID of as many random pictures of both, without repetition; whole sets once only."""
    import torch

    if size == len(x) == len(r):
        return torch.tensor([unbiased(x, r)[0]], dtype=x.dtype)
    draws = torch.Generator().manual_seed(seed)

    def some(features: "Tensor") -> "Tensor":
        return features[torch.randperm(len(features), generator=draws)[:size]]

    return torch.tensor([unbiased(some(x), some(r))[0] for _ in range(subsets)], dtype=x.dtype)
