"""Inception as a TorchScript file: what is fed to it is clean-fid's picture, colour by colour."""

import numpy as np
import pytest
import torch
from PIL import Image

from motif.errors import InputError, MissingModel
from motif.features.inception import FILE, InceptionEncoder
from motif.measure import kid


class Pooled(torch.nn.Module):
    """Stands for Inception: means over blocks of what it is given."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x * self.scale, 3)


class Whole(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = Pooled()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@pytest.fixture
def file(tmp_path, monkeypatch):
    import warnings

    place = tmp_path / "hub" / "checkpoints" / FILE
    place.parent.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Whole()).save(str(place))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return place


def test_it_sees_299_pixels_without_a_crop_in_floating_point(file, picture):
    p = picture(1, (40, 70))
    bands = [
        Image.fromarray(np.float32(np.asarray(p)[..., c])).resize((299, 299), Image.BICUBIC) for c in range(3)
    ]
    x = torch.tensor(np.stack([np.asarray(band) for band in bands]))
    wanted = torch.nn.functional.adaptive_avg_pool2d((x - 128) / 128, 3).flatten()
    encoder = InceptionEncoder.load("paper")
    torch.testing.assert_close(encoder.images([p])[0], wanted)
    torch.testing.assert_close(encoder.images([p] * 3, batch_size=2)[2], wanted)


def test_kid_of_the_paper_is_on_it(file, pictures, references):
    score = kid(pictures, references, encoder="paper")
    assert "Inception" in str(score.choices["backbone"])
    assert score.per_image == kid(pictures, references, encoder=file, features="inception").per_image


def test_what_is_no_inception_is_refused(tmp_path, file):
    with pytest.raises(MissingModel, match="no such file"):
        InceptionEncoder.load(tmp_path / "gone.pt")
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not Inception"):
        InceptionEncoder.load(tmp_path / "bad.pt")
