"""LPIPS without torchvision: torchmetrics' wiring around the same networks, and the laws of a distance."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from motif.errors import InputError, MissingModel
from motif.features import perceptual
from motif.features.backbones import BACKBONES, built
from motif.features.perceptual import Perceptual
from motif.measure import lpips, ns_lpips
from motif.measure.pairs import tensor


@pytest.fixture(scope="session")
def torch_home(tmp_path_factory):
    """A cache in which every network's file has random weights, under torchvision's names."""
    home = tmp_path_factory.mktemp("torch")
    (home / "hub" / "checkpoints").mkdir(parents=True)
    for backbone in BACKBONES.values():
        torch.manual_seed(0)
        weights = {f"features.{key}": value for key, value in built(backbone).state_dict().items()}
        torch.save(
            weights | {"classifier.1.bias": torch.zeros(3)}, home / "hub" / "checkpoints" / backbone.file
        )
    return home


@pytest.fixture
def networks(torch_home, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(torch_home))
    return torch_home


@pytest.fixture
def of_dino(dino_folder):
    return Perceptual.load(dino_folder)


SHAPES = {
    "alex": [(64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3)],
    "vgg": [(64, 3, 3), (64, 64, 3), (128, 64, 3), (128, 128, 3), (256, 128, 3), (256, 256, 3), (256, 256, 3),
            (512, 256, 3), *[(512, 512, 3)] * 5],
}  # fmt: skip


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_the_networks_have_the_published_shapes(net):
    weights = [v for k, v in built(BACKBONES[net]).state_dict().items() if k.endswith("weight")]
    assert [(*v.shape[:2], v.shape[2]) for v in weights] == SHAPES[net]


@pytest.mark.parametrize(("net", "parameters"), [("alex", 2469696), ("squeeze", 722496), ("vgg", 14714688)])
def test_the_networks_have_torchvisions_number_of_weights(net, parameters):
    assert sum(p.numel() for p in built(BACKBONES[net]).parameters()) == parameters


@pytest.mark.parametrize("net", BACKBONES)
def test_it_is_torchmetrics_lpips(networks, net, picture, monkeypatch):
    """torchmetrics' own module, its scaling, layers, weights and mean, around the same convolutions."""
    import torchmetrics.functional.image.lpips as theirs

    name = {"alex": "alexnet", "squeeze": "squeezenet1_1", "vgg": "vgg16"}[net]
    file = networks / "hub" / "checkpoints" / BACKBONES[net].file

    def model(weights=None):
        features = built(BACKBONES[net])
        features.load_state_dict(
            {k.removeprefix("features."): v for k, v in torch.load(file).items() if "feat" in k}
        )
        return SimpleNamespace(features=features)

    torchvision = ModuleType("torchvision")
    torchvision.models = SimpleNamespace(**{name: model})
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    monkeypatch.setattr(theirs, "_TORCHVISION_AVAILABLE", True)
    module = theirs._LPIPS(net=net, pnet_rand=True)
    ours = Perceptual.load(net)
    for seed, size in ((1, (64, 64)), (5, (80, 66))):
        x, y = (2 * tensor(picture(s, size)).float() - 1 for s in (seed, seed + 1))
        with torch.no_grad():
            wanted = float(module(x[None], y[None]))
        assert wanted > 1e-4
        assert ours.distance(x, y) == pytest.approx(wanted, rel=2e-4)


@pytest.mark.parametrize("net", ["alex", "dino"])
def test_a_distance_is_nothing_of_equals_and_the_same_both_ways(networks, net, dino_folder, picture):
    network = Perceptual.load(dino_folder if net == "dino" else net)
    x, y = (2 * tensor(picture(seed, (64, 64))) - 1 for seed in (1, 2))
    assert network.distance(x, x) == 0
    assert network.distance(x, y) == pytest.approx(network.distance(y, x)) != 0
    nearer = x + 0.3 * (y - x)
    assert 0 < network.distance(x, nearer) < network.distance(x, y)


def test_a_vits_form_is_the_mean_squared_difference_of_unit_patches(of_dino, dino, picture):
    x, y = (tensor(picture(seed, (28, 28))).float() for seed in (1, 2))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (dino.preprocessing.mean, dino.preprocessing.std))
    with torch.no_grad():
        out = dino.model(
            pixel_values=torch.stack([(x - mean) / std, (y - mean) / std]), output_hidden_states=True
        )
    unit = [torch.nn.functional.normalize(states[:, 1:], dim=-1) for states in out.hidden_states[1:]]
    wanted = sum(float((u[0] - u[1]).square().sum(-1).mean()) for u in unit) / 2
    assert len(unit) == 2
    assert of_dino.distance(2 * x - 1, 2 * y - 1) == pytest.approx(wanted, rel=1e-4)


def test_what_paper_means_differs_by_metric(networks, picture):
    x, y = picture(1, (64, 64)), picture(2, (64, 64))
    assert lpips(x, y, encoder="paper").choices["encoder"] == "squeeze"
    mask = picture(3, (64, 64)).convert("L")
    score = ns_lpips(x, y, encoder="paper", masks=mask)
    assert score.choices["encoder"] == "alex"
    assert "256 x 256" in str(score.choices["pixels"])


@pytest.mark.parametrize("net", BACKBONES)
def test_a_network_that_is_not_here_is_named_with_its_address(net, tmp_path, monkeypatch, picture):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingModel, match=f"{BACKBONES[net].file}.*https://download.pytorch.org") as caught:
        lpips(picture(0), picture(1), encoder=net)
    assert caught.value.exit_code == 3 and "\n" not in str(caught.value)


def test_a_file_of_something_else_is_refused(tmp_path, monkeypatch):
    place = tmp_path / "hub" / "checkpoints" / BACKBONES["alex"].file
    place.parent.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.save({"features.0.weight": torch.zeros(2)}, place)
    with pytest.raises(InputError, match=r"no weight features\.0\.weight"):
        Perceptual.load("alex")
    place.write_bytes(b"<html>")
    with pytest.raises(InputError, match="cannot be read as weights"):
        Perceptual.load("alex")


def test_without_torchmetrics_the_extra_is_named(networks, monkeypatch):
    monkeypatch.setattr(perceptual, "find_spec", lambda name: None)
    with pytest.raises(MissingModel, match=r"motif\[measure\]"):
        Perceptual.load("alex")


def test_a_file_is_fetched_once_and_checked(tmp_path, monkeypatch):
    import hashlib
    import io

    from motif.features import published

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    asked = []

    def answer(url, timeout):
        asked.append(url)
        return io.BytesIO(b"weights")

    monkeypatch.setattr(published.urllib.request, "urlopen", answer)
    good = f"net-{hashlib.sha256(b'weights').hexdigest()[:8]}.pth"
    for _ in range(2):
        assert published.published(good, "https://x/y", "a net").read_bytes() == b"weights"
    assert asked == ["https://x/y"]
    with pytest.raises(MissingModel, match="another hash"):
        published.published("net-00000000.pth", "https://x/y", "a net")
    assert [path.name for path in (tmp_path / "hub" / "checkpoints").iterdir()] == [good]
