"""FID: how far two sets of pictures are from one distribution, as two Gaussians of their features.

    FID = |μ − ν|² + tr Σ + tr Ω − 2 tr (Σ^½ Ω Σ^½)^½

Heusel et al. 2017: the squared Fréchet distance of N(μ, Σ) and N(ν, Ω), the means and unbiased covariances of the
generated pictures' and the references' features; papers give it on FID's Inception, Custom Diffusion on MS-COCO's
captions and photos (customization card, 4.2). Biased upwards, the more the fewer pictures there are: numbers of other N
are not comparable, and of one distribution it is 0 in the limit alone. `kid` has no bias.

With centred features A [n, d] and B [m, d], divided by √(n−1) and √(m−1), Σ = AᵀA and Ω = BᵀB, so that the last trace,
over the eigenvalues of a symmetric matrix, is the sum of ABᵀ's singular values: no root of a singular matrix is taken,
and fewer pictures than channels are no other case.

The value of picture i is FID + its influence, FID's derivative towards more weight on the picture: their mean is FID to
rounding, their standard error the infinitesimal jackknife's for other generated pictures. (Ours.)
"""

from pathlib import Path
from typing import TYPE_CHECKING

from motif.errors import InputError
from motif.features.extractors import ClipEncoder, DinoEncoder
from motif.features.inception import InceptionEncoder
from motif.features.pictures import Pictures, gather, names
from motif.measure.encoders import Features, load_encoder
from motif.measure.score import Score

if TYPE_CHECKING:
    from torch import Tensor

FEWEST = 2  # a covariance of one picture is none


def fid(
    images: Pictures,
    references: Pictures,
    *,
    encoder: str | Path | ClipEncoder | DinoEncoder | InceptionEncoder = "pocket",
    features: Features = "default",
    batch_size: int = 32,
    device: str = "cpu",
) -> Score:
    """Fréchet inception distance of generated pictures and references; biased upwards, the more the fewer there are.

    A loaded encoder in an encoder's place spares reading it again for every score.

    Args:
        images: the generated pictures: a folder, files, or PIL pictures; two or more, best thousands.
        references: the real ones, likewise.
        encoder: `pocket`, `paper`, a folder or a hub id; for Inception `paper` or a TorchScript file.
        features: whose features: clip, dino or inception; the default is Inception with `paper`, DINO otherwise.
        batch_size: pictures encoded at a time; changes no value beyond rounding (1e-6).
        device: where the encoder computes: cpu, cuda, cuda:1...

    Raises:
        InputError: fewer than two pictures of either kind, or an unreadable one.
        MissingModel: the encoder is not on this machine.
    """
    made, wanted = gather(images, "generated pictures"), gather(references, "reference pictures")
    n, m = len(made), len(wanted)
    if min(n, m) < FEWEST:
        raise InputError(f"FID of {n} pictures and {m} references: it needs {FEWEST} of each")
    loaded = load_encoder(encoder, features, device)
    x, r = (loaded.images(some, batch_size=batch_size).double() for some in (made, wanted))
    d = x.shape[1]
    few = f"; fewer than {d + 1}: no covariance of full rank" if min(n, m) <= d else ""
    choices: dict[str, object] = {
        **loaded.choices(),
        "pictures": f"{n} generated and {m} references, {d} channels{few}",
        "bias": "upwards, more with fewer pictures: compare only with FID of as many",
        "covariances": "unbiased, float64",
        "scale": 1.0,
        "standard error": "infinitesimal jackknife over generated pictures",
    }
    _, per_image = frechet(x, r)
    return Score("fid", tuple(float(value) for value in per_image), choices, images=names(made))


def frechet(x: "Tensor", r: "Tensor") -> "tuple[float, Tensor]":
    """The squared distance of features [n, d] and [m, d], float64; and each xᵢ's value [n], whose mean it is."""
    import torch

    n, (mine, theirs) = len(x), (some.mean(0) for some in (x, r))
    a, b = ((some - mean) / (len(some) - 1) ** 0.5 for some, mean in ((x, mine), (r, theirs)))
    (basis, small), (_, other) = (torch.linalg.qr(some) for some in (a, b))  # [n, k] and [k, d]
    turn, sizes, _ = torch.linalg.svd(small @ other.mT, full_matrices=False)
    shares = ((basis @ turn) ** 2) @ sizes  # [n]: what each picture has of the last trace
    own = (a * a).sum(1)  # [n]: of tr Σ
    apart = mine - theirs
    whole = float(apart @ apart + own.sum() + (b * b).sum() - 2 * sizes.sum())
    influence = 2 * (x - mine) @ apart + (n * own - own.sum()) - (n * shares - sizes.sum())
    return whole, whole + influence
