"""Laws of pocket's recipe, on a few drawn scenes with made-up pixels: no renderer is needed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from motif.base import Base
from motif.elite.encoder import SHIPPED, Encoder
from motif.elite.start import fresh
from motif.errors import InputError
from motif.loading import pocket_weights
from motif.pocket.recipe import assemble, shipping, train
from motif.pocket.recipe import stages as recipe_stages
from motif.pocket.recipe.judge import load_judge
from motif.pocket.recipe.latents import Latents, cached_latents
from motif.pocket.recipe.losses import Draw, instance_loss, matching_loss
from motif.pocket.recipe.material import LABELS, Material, load_material, normalised, views
from motif.pocket.recipe.optimiser import orthogonalised
from motif.pocket.recipe.settings import SIZES, STAGES
from motif.pocket.recipe.shipping import prove, text_tower, unpack
from motif.pocket.recipe.tokenizer import LENGTH, build_tokenizer
from motif.pocket.recipe.training import Average, Schedule, Stage, pace, train_stage
from motif.pocket.recipe.unet import (
    build_unet,
    denoising_loss,
    draw_pairs,
    drawn_from,
    load_unet,
    stratified_times,
)
from motif.pocket.recipe.vae import build_vae, calibrated, encode_all, load_vae
from motif.pocket.world import grammar, scene
from motif.pocket.world.shards import Pictures, is_held_out

# The loop


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 5)
        self.head = nn.Linear(5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.inner(x).tanh())


def line_stage() -> tuple[Stage, Line]:
    torch.manual_seed(3)
    line = Line()

    def loss(step: int, rng: np.random.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        x = torch.from_numpy(rng.normal(size=(4, 6))).float() + 0.1 * torch.randn(4, 6)
        return (line(x) - x.sum(1, keepdim=True)).square().mean(), {}

    return Stage("line", line, loss, lambda step: {"step": step}), line


SCHEDULE = Schedule(steps=12, batch=4, lr=0.05, muon_lr=0.05, warm_up=3, ema=0.9)


@pytest.mark.parametrize("stop", [1, 5, 11])
def test_stopped_and_resumed_is_bit_for_bit_never_stopped(tmp_path: Path, stop: int) -> None:
    whole, straight = line_stage()
    train_stage(whole, SCHEDULE, tmp_path / "straight", seed=7)
    first, _ = line_stage()
    train_stage(first, SCHEDULE, tmp_path / "halted", seed=7, until=stop)
    second, resumed = line_stage()
    train_stage(second, SCHEDULE, tmp_path / "halted", seed=7)
    for mine, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(mine, other)
    saved = [
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("straight", "halted")
    ]
    assert all(torch.equal(a, b) for a, b in zip(saved[0]["average"], saved[1]["average"], strict=True))
    assert saved[0]["step"] == saved[1]["step"] == SCHEDULE.steps


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    runs = []
    for seed in (1, 2):
        stage, line = line_stage()
        train_stage(stage, SCHEDULE, tmp_path / str(seed), seed=seed)
        runs.append(line.inner.weight.detach())
    assert not torch.equal(*runs)


def test_a_spent_budget_trains_no_further_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    stage, line = line_stage()
    train_stage(stage, SCHEDULE, tmp_path)
    before = line.inner.weight.detach().clone()
    again, same = line_stage()
    train_stage(again, SCHEDULE, tmp_path)
    assert torch.equal(same.inner.weight, before)
    longer, further = line_stage()
    train_stage(longer, Schedule(steps=20, batch=4, lr=0.05, muon_lr=0.05, ema=0.9), tmp_path)
    assert not torch.equal(further.inner.weight, before)
    lines = [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [one["step"] for one in lines if "shown" in one] == [12, 20]


def test_a_broken_gradient_changes_nothing(tmp_path: Path) -> None:
    stage, line = line_stage()
    before = line.inner.weight.detach().clone()
    broken = Stage(
        "broken", line, lambda step, rng: (line(torch.full((1, 6), torch.nan)).sum(), {}), stage.show
    )
    train_stage(broken, SCHEDULE, tmp_path)
    assert torch.equal(line.inner.weight, before)


def test_one_broken_step_does_not_spoil_the_log(tmp_path: Path) -> None:
    stage, line = line_stage()
    once = Stage(
        "once",
        line,
        lambda step, rng: (line(torch.full((1, 6), torch.nan if step == 1 else 1.0)).square().sum(), {}),
        stage.show,
    )
    train_stage(once, SCHEDULE, tmp_path, log_every=2)
    last = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-2])
    assert all(np.isfinite(last[key]) for key in ("loss", "gradient")) and 0 < last["broken"] < 0.1


def test_a_stage_that_learns_nothing_stops(tmp_path: Path) -> None:
    stage, line = line_stage()
    broken = Stage(
        "broken", line, lambda step, rng: (line(torch.full((1, 6), torch.nan)).sum(), {}), stage.show
    )
    with pytest.raises(InputError, match="100 steps in a row"):
        train_stage(broken, replace(SCHEDULE, steps=200), tmp_path)


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    """Saved and shown as it goes, not at its end alone; and the run that went on is the one that was never killed."""
    often = replace(SCHEDULE, save_minutes=0.0, show_minutes=0.0)
    whole, straight = line_stage()
    train_stage(whole, often, tmp_path / "straight", seed=7)
    stage, _ = line_stage()

    def killed(step: int, rng: np.random.Generator) -> tuple[torch.Tensor, dict[str, float]]:
        if step == 7:
            raise KeyboardInterrupt
        return stage.loss(step, rng)

    with pytest.raises(KeyboardInterrupt):
        train_stage(replace(stage, loss=killed), often, tmp_path / "killed", seed=7)
    assert torch.load(tmp_path / "killed" / "checkpoint.pt", weights_only=True)["step"] == 7
    lines = [json.loads(text) for text in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()]
    assert [one["step"] for one in lines if "shown" in one] == [1, 2, 3, 4, 5, 6, 7]
    again, resumed = line_stage()
    train_stage(again, often, tmp_path / "killed", seed=7)
    for mine, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_checkpoint_of_another_size_is_refused_and_stays(tmp_path: Path) -> None:
    stage, _ = line_stage()
    train_stage(stage, SCHEDULE, tmp_path, until=2)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    wide = nn.Sequential(nn.Linear(6, 7), nn.Linear(7, 1))
    with pytest.raises(InputError, match="another size"):
        train_stage(replace(stage, module=wide), SCHEDULE, tmp_path)
    with pytest.raises(InputError, match="another size"):  # without Muon, as h200's UNet
        train_stage(line_stage()[0], replace(SCHEDULE, muon_lr=0.0), tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_the_average_is_exact_and_wearing_it_is_undone() -> None:
    module = nn.Linear(1, 1, bias=False)
    average = Average(module, decay=0.9)
    expected = module.weight.item()
    for update in range(1, 30):
        with torch.no_grad():
            module.weight.fill_(update)
        average.update(module)
        decay = min(0.9, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * update
    assert average.values[0].item() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(RuntimeError, match="inside"), average.worn(module):
        assert module.weight.item() == average.values[0].item() and not module.training
        raise RuntimeError("inside")
    assert module.weight.item() == 29 and module.training


def test_pace_warms_up_holds_and_falls_to_its_floor() -> None:
    schedule = Schedule(steps=100, batch=1, lr=1.0, warm_up=10, hold=0.2, floor=0.05)
    values = [pace(schedule, step, step / 100) for step in range(101)]
    assert (
        values[0] == pytest.approx(0.1) and values[10:20] == [1.0] * 10 and values[-1] == pytest.approx(0.05)
    )
    assert values[20:] == sorted(values[20:], reverse=True)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 5, 17), (2, 17, 5)])
def test_muons_direction_has_singular_values_near_one(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(matrices))
    assert values.max() < 1.3 and values.median() > 0.6
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    assert (
        torch.nn.functional.cosine_similarity(
            orthogonalised(matrices).flatten(1), (left @ right).flatten(1)
        ).min()
        > 0.9
    )


TWO = """
import sys, torch, numpy as np
from pathlib import Path
from motif.pocket.recipe.processes import joined
from motif.pocket.recipe.training import Schedule, Stage, train_stage
torch.manual_seed(0)
line = torch.nn.Linear(3, 1)
loss = lambda step, rng: (line(torch.from_numpy(rng.normal(size=(4, 3))).float()).square().mean(), {})
with joined("cpu"):
    train_stage(Stage("line", line, loss, lambda step: {}), Schedule(steps=5, batch=4, lr=0.1), Path(sys.argv[1]))
print(line.weight.tolist())
"""


@pytest.mark.slow
def test_two_processes_take_the_same_steps_and_one_writes(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(tmp_path / "run")],
            env={**os.environ, **group, "RANK": str(number)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    said = [process.communicate(timeout=240)[0] for process in started]
    assert said[0] == said[1] != ""
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [5]
    alone = subprocess.run(
        [sys.executable, "-c", TWO, str(tmp_path / "alone")], capture_output=True, text=True, check=True
    )
    assert alone.stdout != said[0]  # the second process brought pictures of its own


# The tokenizer


def test_every_word_of_the_world_is_one_token(tokenizer: Any) -> None:
    for word in {*grammar.all_words(), *grammar.RARE_TOKENS, *scene.COLOURS, *scene.NOUNS}:
        start, *inner, end = tokenizer(word).input_ids
        assert (start, end) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
        assert len(inner) == 1, word


@settings(max_examples=60, deadline=None)
@given(
    st.text(
        st.characters(min_codepoint=33, max_codepoint=0x24F, exclude_categories=["Cs", "Cc", "Cf", "Zs"]),
        min_size=1,
        max_size=12,
    )
)
def test_any_text_comes_back(tokenizer: Any, word: str) -> None:
    import unicodedata

    ids = tokenizer(word).input_ids[1:-1]
    assert ids and tokenizer.unk_token_id not in ids
    plain = unicodedata.normalize("NFC", word).lower()
    assert "".join(tokenizer.decode(ids).split()) == "".join(plain.split())


def test_prompts_are_padded_with_the_end_token_to_32(tokenizer: Any) -> None:
    ids = tokenizer("a photo of a dog " * 20, padding="max_length", truncation=True).input_ids
    assert len(ids) == LENGTH and ids[-1] == tokenizer.eos_token_id
    assert tokenizer.pad_token_id == tokenizer.eos_token_id


def test_a_word_that_cannot_be_one_token_is_refused() -> None:
    with pytest.raises(InputError, match="'t-shirt'"):
        build_tokenizer(["dog", "t-shirt"])


# Material and losses


def test_the_split_depends_on_the_name_alone() -> None:
    share = np.mean([is_held_out(f"7-{number:06d}") for number in range(4000)])
    assert 0.03 < share < 0.055
    assert is_held_out("7-000001") == is_held_out("7-000001")


@pytest.mark.parametrize(("held_out", "said"), [(True, "held out"), (False, "to learn from")])
def test_too_few_pictures_are_refused_before_any_training(
    material: Material, monkeypatch: pytest.MonkeyPatch, held_out: bool, said: str
) -> None:
    name = next(name for name in map(str, range(999)) if is_held_out(name) == held_out)
    few = Pictures(material.rgb[:2].numpy(), material.mask[:2].numpy(), list(material.scenes[:2]), [name] * 2)
    monkeypatch.setattr("motif.pocket.recipe.material.read_shards", lambda shards, limit: few)
    with pytest.raises(InputError, match=f"all of its 2 pictures are {said}.*render more"):
        load_material(Path("shards"))


def test_labels_follow_the_scenes(material: Material) -> None:
    for row in (0, 17, 63):
        said = grammar.labels(material.scenes[row])
        for kind, names in LABELS.items():
            assert names[int(material.labels[kind][row])] == (said[kind] or "none")


def test_views_keep_masks_on_their_objects(material: Material) -> None:
    rgb = material.mask[:8, :, :, None].expand(-1, -1, -1, 3)  # pictures that are their own masks
    images, masks = views(rgb, material.mask[:8], np.random.default_rng(1))
    assert torch.allclose((images + 1) / 2, masks.expand_as(images), atol=1e-5)
    assert not torch.equal(images[0], images[1])


def test_the_draw_gives_pairs_of_one_instance_from_few_nouns(material: Material) -> None:
    rows = Draw.of(material).rows(8, np.random.default_rng(0), nouns=2)
    instance, noun = material.instance[rows], material.labels["noun"][rows]
    assert torch.equal(instance[::2], instance[1::2]) and len(set(rows.tolist())) == len(rows)
    assert len(noun.unique()) <= 2


def test_losses_are_least_where_they_should_be() -> None:
    eye = torch.eye(4)
    key = torch.arange(4)
    right = matching_loss(eye, eye, torch.tensor(50.0), key)
    assert right < 1e-6 < matching_loss(eye, eye.roll(1, 0), torch.tensor(50.0), key)
    together = torch.cat([eye, eye])
    instance = torch.cat([key, key])
    assert instance_loss(together, instance) < instance_loss(together, instance.roll(1)[torch.randperm(8)])


def test_times_are_stratified_and_the_weights_capped() -> None:
    t = stratified_times(50, np.random.default_rng(0))
    assert sorted((t // 20).tolist()) == list(range(50))
    noise = torch.zeros(2, 1, 2, 2)
    alpha_bar = torch.tensor([0.99, 0.5])  # SNR 99 and 1: weights 5/99 and 1
    total, plain = denoising_loss(
        torch.ones_like(noise) * torch.tensor([1.0, 0.0])[:, None, None, None], noise, alpha_bar, cap=5.0
    )
    assert plain.item() == pytest.approx(0.5) and total.item() == pytest.approx(
        (5 / 99) / (1 + 5 / 99), rel=1e-4
    )


# The parts together


def test_calibration_changes_the_latents_and_not_the_pictures(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motif.pocket.recipe.speed.precision", lambda device: torch.float32)
    torch.manual_seed(0)
    vae = build_vae(SIZES["tiny"].vae).eval()
    out = calibrated(vae, material.rgb, "cpu", noise=0.05)
    latents = encode_all(out, material.rgb, "cpu") * out.config.scaling_factor
    assert latents.std().item() == pytest.approx(1, abs=0.05) and latents.mean((0, 2, 3)).abs().max() < 1e-3
    images = normalised(material.rgb[:4])
    with torch.no_grad():
        before = vae.decode(vae.encode(images).latent_dist.mean).sample
        after = out.decode(out.encode(images).latent_dist.mean).sample
        width = out.encode(images).latent_dist.std
    assert torch.allclose(before, after, atol=1e-4)
    assert width.max() - width.min() < 1e-5


def test_the_recipe_trains_every_stage(trained: Path) -> None:
    assert {folder.name for folder in trained.iterdir()} == set(STAGES)
    for stage in STAGES[1:]:
        assert json.loads((trained / stage / "log.jsonl").read_text().splitlines()[-1])["step"] == 3
    assert list((trained / "unet").glob("grid-*.png")) and list((trained / "vae").glob("grid-*.png"))


def test_stock_diffusers_loads_and_samples_the_shipped_folder(trained: Path, tmp_path: Path) -> None:
    sizes = assemble(trained, tmp_path / "shipped")
    assert set(sizes) == {"pipeline", "clip", "condition-clip", "dino", "judge"}
    image = prove(tmp_path / "shipped", steps=2)
    assert image.size == (64, 64)
    assert assemble(trained, tmp_path / "shipped") == sizes  # takes the old one's place
    assert [entry.name for entry in tmp_path.iterdir()] == ["shipped"]


@pytest.fixture
def run_with_encoder(trained: Path, tmp_path: Path) -> Path:
    """The tiny run with a tiny encoder of its own base and image tower, as `motif learn elite` leaves it."""
    run, shipped = tmp_path / "run", tmp_path / "first"
    shutil.copytree(trained, run)
    assemble(run, shipped)
    base = Base.load(str(shipped / "pipeline"), device="cpu")
    made = replace(fresh(base, str(shipped / "condition-clip"), hidden=4), image="pocket")
    made.save(run / shipping.ENCODER, half=True)
    return run


def test_a_runs_encoder_is_shipped_and_found_and_comes_back(
    run_with_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, file = tmp_path / "shipped", run_with_encoder / shipping.ENCODER
    sizes = assemble(run_with_encoder, out)
    assert sizes["elite"] == file.stat().st_size and shipping.ENCODER == SHIPPED
    monkeypatch.setenv("MOTIF_POCKET_WEIGHTS", str(out))
    assert Encoder.load("pocket").fingerprint == Encoder.load(file).fingerprint
    assert "elite" in unpack(out, tmp_path / "again")
    assert (tmp_path / "again" / shipping.ENCODER).read_bytes() == file.read_bytes()
    assert assemble(tmp_path / "again", tmp_path / "twice")["elite"] == sizes["elite"]
    monkeypatch.setattr(shipping, "LIMIT", sum(sizes.values()) - 1)
    with pytest.raises(InputError, match="--small"):
        assemble(run_with_encoder, out)


@pytest.mark.parametrize("part", ["unet/unet/diffusion_pytorch_model", "condition-image/clip/model"])
def test_a_shipped_encoder_stays_as_long_as_its_base_and_image_tower_do(
    run_with_encoder: Path, tmp_path: Path, part: str
) -> None:
    run, out = run_with_encoder, tmp_path / "shipped"
    assemble(run, out)
    (run / shipping.ENCODER).unlink()
    assert "elite" in assemble(run, out), "the one that was shipped"
    weights = run / f"{part}.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    assert "elite" not in assemble(run, out) and not (out / "elite").exists()


def test_a_file_that_is_no_encoder_is_not_shipped(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "elite").mkdir()
    save_file({"x": torch.zeros(1)}, tmp_path / "run" / shipping.ENCODER)
    with pytest.raises(InputError, match="no ELITE encoder"):
        assemble(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_shipped_folder_unpacks_to_what_it_was_assembled_from(trained: Path, tmp_path: Path) -> None:
    assemble(trained, tmp_path / "shipped")
    laid = unpack(tmp_path / "shipped", tmp_path / "run")
    assert {"tokenizer", "vae", "unet", "condition-clip"} <= set(laid)
    assert unpack(tmp_path / "shipped", tmp_path / "run") == []  # what is there stays
    assemble(tmp_path / "run", tmp_path / "again")
    files = sorted(
        file.relative_to(tmp_path / "shipped") for file in (tmp_path / "shipped").rglob("*.safetensors")
    )
    assert len(files) == 7
    for file in files:
        first, second = load_file(tmp_path / "shipped" / file), load_file(tmp_path / "again" / file)
        assert first.keys() == second.keys() and all(
            torch.equal(first[name], second[name]) for name in first
        ), file


@pytest.mark.parametrize(
    ("part", "begins", "said"),
    [
        ("condition-clip/clip/model", "text_model", "unet learned from another VAE or conditioning CLIP"),
        ("vae/vae/diffusion_pytorch_model", "encoder", "unet learned from another VAE or conditioning CLIP"),
        ("decoder/vae/diffusion_pytorch_model", "encoder", "decoder belongs to another VAE"),
    ],
)
def test_parts_that_learned_apart_are_not_shipped_together(
    trained: Path, material: Material, tmp_path: Path, part: str, begins: str, said: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    weights = run / f"{part}.safetensors"
    moved = {name: x + 0.1 * name.startswith(begins) for name, x in load_file(weights).items()}
    save_file(moved, weights, {"format": "pt"})
    with pytest.raises(InputError, match=said):
        assemble(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    if not part.startswith("decoder"):  # a spent budget would else say nothing
        kept = sorted((run / "unet").glob("latents-*"))
        with pytest.raises(InputError, match=said):
            recipe_stages.train_unet_on(material, run, SIZES["tiny"], "cpu")
        assert sorted((run / "unet").glob("latents-*")) == kept


def test_training_starts_from_a_shipped_folder(
    trained: Path, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe_stages, "load_material", lambda shards: (material, material))
    assemble(trained, tmp_path / "shipped")
    go = {"size": "tiny", "threads": torch.get_num_threads(), "minutes": 1e-6}  # one step
    train(tmp_path / "run", "nowhere", stages=["unet", "judge"], start=tmp_path / "shipped", **go)
    ours, theirs = (load_unet(folder / "unet").state_dict() for folder in (tmp_path / "run", trained))
    gaps = [float((value - theirs[name]).abs().max()) for name, value in ours.items()]
    assert 0 < max(gaps) < 0.03  # a fresh one is 0.3 away
    said: list[str] = []
    train(tmp_path / "run", "nowhere", stages=["judge"], start=tmp_path / "shipped", report=said.append, **go)
    assert said[0].startswith(f"{tmp_path / 'run'} has every part already")
    before = (tmp_path / "run" / "vae" / "vae" / "config.json").stat().st_mtime_ns
    assert (
        "kept" in train(tmp_path / "run", "nowhere", stages=["vae"], **go)["vae"]
    )  # the UNet was made for it
    assert (tmp_path / "run" / "vae" / "vae" / "config.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="another size"):
        train(tmp_path / "run", "nowhere", stages=["dino"], **{**go, "size": "first"})
    with pytest.raises(InputError, match="no shipped folder"):
        train(tmp_path / "other", "nowhere", stages=["unet"], start=tmp_path, **go)


def test_transformers_loads_the_readers(trained: Path, tmp_path: Path) -> None:
    from transformers import CLIPModel, CLIPVisionModelWithProjection, ViTModel

    assemble(trained, tmp_path / "shipped")
    whole = CLIPModel.from_pretrained(trained / "condition-image" / "clip")
    tower = CLIPVisionModelWithProjection.from_pretrained(
        tmp_path / "shipped" / "condition-clip", dtype=torch.float32
    )
    images = torch.zeros(1, 3, 64, 64)
    theirs = whole.visual_projection(whole.vision_model(pixel_values=images).pooler_output)
    assert torch.allclose(tower(pixel_values=images).image_embeds, theirs, atol=2e-2)
    assert (
        ViTModel.from_pretrained(tmp_path / "shipped" / "dino")(
            pixel_values=images.half()
        ).last_hidden_state.shape[1]
        == 65
    )
    judge = load_judge(tmp_path / "shipped" / "judge")
    assert judge.find(images).shape == (1, 1, 64, 64)
    assert judge.identify(images, torch.ones(1, 1, 64, 64)).norm().item() == pytest.approx(1, abs=1e-5)


def test_a_picture_with_an_accessory_is_drawn_twice_as_often(material: Material) -> None:
    rows = torch.arange(10).half()
    latents = Latents(
        rows.expand(2, 10)[..., None, None, None], torch.arange(10)[:, None], rows[:, None, None]
    )
    made = replace(SIZES["tiny"].unet, caption_drop=0.0)
    made = replace(made, schedule=replace(made.schedule, batch=4000))
    pool = drawn_from(10, torch.tensor([3, 7]), made.accessory_draws)
    x_0, states = draw_pairs(latents, pool, made, np.random.default_rng(0))
    assert torch.equal(x_0.flatten(), states.flatten())  # each with its own caption
    share = torch.bincount(x_0.flatten().long(), minlength=10) / 4000
    assert share[[3, 7]].numpy() == pytest.approx(2 / 12, abs=0.02)
    assert share[[0, 1, 2, 4, 5, 6, 8, 9]].numpy() == pytest.approx(1 / 12, abs=0.02)
    wearing = [row for row, one in enumerate(material.scenes) if one.view.accessory]
    assert wearing and recipe_stages.dressed(material).tolist() == wearing


def test_one_caption_in_ten_is_dropped_to_the_empty_prompt() -> None:
    """Row 0 of the text states, which guidance leads away from."""
    made = SIZES["first"].unet
    made = replace(made, schedule=replace(made.schedule, batch=4000))
    states = torch.arange(11).half()[:, None, None]
    latents = Latents(torch.zeros(2, 10, 1, 1, 1).half(), 1 + torch.arange(10)[:, None], states)
    _, drawn = draw_pairs(latents, torch.arange(10), made, np.random.default_rng(0))
    assert (drawn == 0).float().mean().item() == pytest.approx(0.1, abs=0.02)


def test_latents_of_other_pictures_are_other_latents(
    trained: Path, material: Material, tokenizer: Any, tmp_path: Path
) -> None:
    tower, _ = text_tower(trained)
    few = material.take(torch.arange(4))
    parts = (load_vae(trained / "vae"), tower, tokenizer, tmp_path)
    first = cached_latents(few, *parts, each=1)
    (file,) = tmp_path.glob("latents-*.pt")
    assert torch.equal(cached_latents(few, *parts, each=1).latents, first.latents)
    assert list(tmp_path.glob("latents-*.pt")) == [file]
    brighter = replace(few, rgb=few.rgb // 2 + 100)
    assert not torch.equal(cached_latents(brighter, *parts, each=1).latents, first.latents)
    (other,) = tmp_path.glob("latents-*.pt")
    assert other != file  # and the old one is gone


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
def test_the_recipe_runs_on_a_gpu(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe_stages, "load_material", lambda shards: (material, material))
    train(tmp_path, "nowhere", size="tiny", device="cuda", report=lambda line: None)


def test_the_scoring_clip_is_not_the_conditioning_one(trained: Path) -> None:
    scoring = load_file(trained / "clip" / "clip" / "model.safetensors")
    conditioning = load_file(trained / "condition-clip" / "clip" / "model.safetensors")
    shared = [n for n in scoring if n.endswith(".weight") and n in conditioning and "norm" not in n]
    assert shared and not any(
        scoring[n].shape == conditioning[n].shape and torch.equal(scoring[n], conditioning[n]) for n in shared
    )


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no stage 'vea'"):
        train(tmp_path, tmp_path, stages=["vea"])
    with pytest.raises(InputError, match="no size 'huge'"):
        train(tmp_path, tmp_path, size="huge")
    with pytest.raises(InputError, match="train that stage first"):
        assemble(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("size", ["first", "h200"])
def test_every_size_s_unet_fits_into_the_package_beside_the_other_parts(size: str) -> None:
    shape = json.loads((pocket_weights() / "pipeline" / "unet" / "config.json").read_text())
    with torch.device("meta"):
        unet = build_unet(
            SIZES[size].unet, latent_channels=shape["in_channels"], text_width=shape["cross_attention_dim"]
        )
    shipped = pocket_weights() / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"
    others = shipping.folder_size(pocket_weights()) - shipped.stat().st_size
    assert others + 2 * sum(p.numel() for p in unet.parameters()) <= shipping.LIMIT
