"""Files of other tools, made here as the method card describes them, become the concepts that they hold."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from foreign_files import deltas, kv_layers, random, whole
from motif.errors import InputError, WrongBase
from motif.interop.incoming import read_files
from pieces import concept_of

ORIGINAL = {  # card 5.4, of SD1's sixteen layers those that the tiny UNet has, whose blocks have one layer
    "sd1": {"down_blocks.0.attentions.0": "input_blocks.1.1", "down_blocks.1.attentions.0": "input_blocks.3.1",
            "mid_block.attentions.0": "middle_block.1", "up_blocks.1.attentions.0": "output_blocks.2.1",
            "up_blocks.1.attentions.1": "output_blocks.3.1", "up_blocks.2.attentions.0": "output_blocks.4.1",
            "up_blocks.2.attentions.1": "output_blocks.5.1"},
}  # fmt: skip


def close(concept, wanted):
    assert concept.changes.keys() == wanted.keys()
    for name, delta in wanted.items():
        torch.testing.assert_close(concept.changes[name].full(), delta, rtol=1e-5, atol=1e-6)


def weights_near(base, seed=0):
    """{diffusers' name: a fine-tuned W} of every K and V."""
    own = {f"{n}.weight": base.models.parameter(f"unet.{n}.weight") for n in kv_layers(base)}
    return {n: w + 0.05 * random(*w.shape, seed=seed + i) for i, (n, w) in enumerate(own.items())}


# -- the official delta ----------------------------------------------------------------------------------------------


def test_the_official_delta(small, tmp_path):
    weights, widths = weights_near(small.base), [r.width for r in small.base.models.readers]
    rows = {f"<new{i}>": [random(w, seed=i) for w in widths] for i in (1, 2)}
    words = {token: row if len(row) > 1 else row[0] for token, row in rows.items()}
    torch.save({"unet": weights, "modifier_token": words}, tmp_path / "delta.bin")
    back = read_files([tmp_path / "delta.bin"], small.base, noun=["cat", "dog"])
    close(back, deltas(small.base, weights))
    assert back.record.nouns == {"<new1>": "cat", "<new2>": "dog"}
    for token, parts in rows.items():
        assert all(torch.equal(x[0], y) for x, y in zip(back.tokens[token], parts, strict=True))


def test_the_official_delta_compressed(small, tmp_path):
    concept = concept_of(small.base, rank=3)
    unet = {n.removeprefix("unet."): {"u": c.up, "v": c.down} for n, c in concept.changes.items()}
    torch.save({"unet": unet, "modifier_token": {"<new1>": random(24)}}, tmp_path / "compressed_delta.bin")
    if small.family == "sdxl":
        with pytest.raises(WrongBase, match="text encoders"):
            read_files([tmp_path / "compressed_delta.bin"], small.base)
        return
    back = read_files([tmp_path / "compressed_delta.bin"], small.base)
    assert all(torch.equal(back.changes[n].up, c.up) for n, c in concept.changes.items())
    assert all(back.changes[n].dense is None for n in concept.changes)


def test_the_official_delta_with_a_trained_text_encoder(sd1, tmp_path):
    """Its whole state: transformers 4's names, the table with the new rows, and position ids."""
    state = {f"text_model.{n}": w.clone() for n, w in sd1.base.models.readers[0].encoder.named_parameters()}
    key = next(n for n in state if n.endswith("layers.1.mlp.fc1.weight"))
    state[key] += 1
    table = next(n for n in state if n.endswith("token_embedding.weight"))
    state[table] = torch.cat([state[table], random(1, 24)])
    state["text_model.embeddings.position_ids"] = torch.arange(20)[None]
    made = {"unet": {}, "text_encoder": state, "modifier_token": {"<new1>": state[table][-1]}}
    torch.save(made, tmp_path / "delta.bin")
    back = read_files([tmp_path / "delta.bin"], sd1.base)
    (name,) = back.changes
    assert name.startswith("text_encoder.") and name.endswith("layers.1.mlp.fc1.weight")
    assert torch.allclose(back.changes[name].full(), torch.ones(1), atol=1e-5)


def test_the_delta_of_the_compvis_code(sd1, tmp_path):
    weights = weights_near(sd1.base)
    foreign = {}
    for name, weight in weights.items():
        site, tail = name.split(".transformer_blocks.")
        foreign[f"model.diffusion_model.{ORIGINAL['sd1'][site]}.transformer_blocks.{tail}"] = weight
    rows = random(2, 24)
    for form in (rows, rows.flatten()):  # convert.py joins the rows end to end
        torch.save({"state_dict": {**foreign, "embed": form}}, tmp_path / "delta_epoch=000004.ckpt")
        back = read_files([tmp_path / "delta_epoch=000004.ckpt"], sd1.base)
        close(back, deltas(sd1.base, weights))
        assert list(back.tokens) == ["<new1>", "<new2>"]
        assert torch.equal(torch.cat([parts[0] for parts in back.tokens.values()]), rows)


def test_the_compvis_delta_compressed(sd1, tmp_path):
    name = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    u, v = random(32, 2), random(2, 24)
    torch.save({"state_dict": {name: {"u": u, "v": v}, "embed": random(1, 24)}}, tmp_path / "delta.ckpt")
    (change,) = read_files([tmp_path / "delta.ckpt"], sd1.base).changes.values()
    assert torch.equal(change.up, u) and torch.equal(change.down, v)


@pytest.mark.parametrize("ending", ["bin", "safetensors"])
def test_the_weights_of_the_diffusers_example(small, ending, tmp_path):
    weights = weights_near(small.base)
    foreign = {
        n.replace(".to_k.", ".processor.to_k_custom_diffusion.").replace(
            ".to_v.", ".processor.to_v_custom_diffusion."
        ): w
        for n, w in weights.items()
    }
    path = tmp_path / f"pytorch_custom_diffusion_weights.{ending}"
    if ending == "bin":  # self-attention layers stand there empty
        empty = {f"{n.rpartition('.attn2')[0]}.attn1.processor": {} for n in weights}
        torch.save({**foreign, **empty}, path)
    else:
        save_file(foreign, path, metadata={"format": "pt"})
    token = tmp_path / "<new1>.bin"
    row = [random(1, r.width) for r in small.base.models.readers]
    if len(row) == 1:
        torch.save({"<new1>": row[0][0]}, token)
        back = read_files([path, token], small.base)
        assert torch.equal(back.tokens["<new1>"][0], row[0])
    else:
        back = read_files([path], small.base)
    close(back, deltas(small.base, weights))


# -- words -----------------------------------------------------------------------------------------------------------

ROWS = random(3, 24)


@pytest.mark.parametrize(
    ("name", "content", "token"),
    [
        ("learned_embeds.bin", {"<cat-toy>": ROWS}, "<cat-toy>"),
        ("learned_embeds.safetensors", {"<cat-toy>": ROWS}, "<cat-toy>"),
        ("learned_embeds.bin", {"cat-toy": ROWS}, "<cat-toy>"),
        ("toy.bin", ROWS, "<toy>"),
        ("toy.safetensors", {"emb_params": ROWS}, "<toy>"),
        ("a.pt", {"string_to_token": {"*": 265}, "string_to_param": {"*": ROWS}, "name": "my toy", "step": 9,
                  "sd_checkpoint": None, "sd_checkpoint_name": None}, "<my-toy>"),
        ("embeddings_gs-9.pt", {"string_to_token": {"<toy>": torch.tensor(265)}, "string_to_param":
                                torch.nn.ParameterDict({"<toy>": torch.nn.Parameter(ROWS.clone())})}, "<toy>"),
    ],
)  # fmt: skip
def test_a_word(sd1, name, content, token, tmp_path):
    path = tmp_path / name
    if name.endswith("safetensors"):
        save_file(content, path)
    else:
        torch.save(content, path)
    back = read_files([path], sd1.base)
    assert list(back.tokens) == [token] and not back.changes
    (rows,) = back.tokens[token]
    assert torch.equal(rows, ROWS) and not rows.requires_grad
    assert list(read_files([path], sd1.base, token=["<x>"]).tokens) == ["<x>"]


def test_one_row_in_half_precision(sd1, tmp_path):
    save_file({"<new1>": ROWS[0].half()}, tmp_path / "learned_embeds.safetensors")
    (rows,) = read_files([tmp_path / "learned_embeds.safetensors"], sd1.base).tokens["<new1>"]
    assert rows.dtype == torch.float32 and torch.equal(rows, ROWS[:1].half().float())


def test_two_text_encoders_in_one_file_or_two(sdxl, tmp_path):
    save_file({"clip_g": ROWS + 1, "clip_l": ROWS}, tmp_path / "both.safetensors")
    save_file({"<new1>": ROWS}, tmp_path / "learned_embeds.safetensors")
    save_file({"<new1>": ROWS + 1}, tmp_path / "learned_embeds_2.safetensors")
    one = read_files([tmp_path / "both.safetensors"], sdxl.base, token=["<new1>"])
    two = read_files([tmp_path / f"learned_embeds{n}.safetensors" for n in ("", "_2")], sdxl.base)
    for concept in (one, two):
        assert torch.equal(concept.tokens["<new1>"][0], ROWS) and torch.equal(
            concept.tokens["<new1>"][1], ROWS + 1
        )
    with pytest.raises(WrongBase, match="text encoders"):
        read_files([tmp_path / "learned_embeds.safetensors"], sdxl.base)


def test_a_word_of_another_width(sd1, tmp_path):
    save_file({"<new1>": random(1, 25)}, tmp_path / "learned_embeds.safetensors")
    with pytest.raises(WrongBase, match=r"25.*24"):
        read_files([tmp_path / "learned_embeds.safetensors"], sd1.base)


def test_where_the_token_comes_from_is_told(sd1, tmp_path, caplog):
    save_file({"emb_params": ROWS}, tmp_path / "toy.safetensors")
    with caplog.at_level(logging.INFO, "motif"):
        read_files([tmp_path / "toy.safetensors"], sd1.base)
    assert "<toy>" in caplog.text and "file's name" in caplog.text


# -- LoRA ------------------------------------------------------------------------------------------------------------


def pairs(base, rank=2, layers=None):
    """{layer: (A, B)} of the K and V layers."""
    found = {}
    for i, layer in enumerate(layers or kv_layers(base)):
        out, into = base.models.parameter(f"unet.{layer}.weight").shape
        found[layer] = random(rank, into, seed=2 * i), random(out, rank, seed=2 * i + 1)
    return found


SPELLINGS = {
    "diffusers": ("unet.{}.lora_A.weight", "unet.{}.lora_B.weight"),
    "diffusers before PEFT": ("unet.{}.lora.down.weight", "unet.{}.lora.up.weight"),
    "PEFT in memory": ("{}.lora_A.default.weight", "{}.lora_B.default.weight"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_lora_in_peft_keys(small, spelling, tmp_path):
    found, (down, up) = pairs(small.base), SPELLINGS[spelling]
    content = {down.format(n): a for n, (a, _) in found.items()} | {
        up.format(n): b for n, (_, b) in found.items()
    }
    save_file(content, tmp_path / "pytorch_lora_weights.safetensors", metadata={"format": "pt"})
    back = read_files([tmp_path / "pytorch_lora_weights.safetensors"], small.base)
    close(back, {f"unet.{n}.weight": b @ a for n, (a, b) in found.items()})
    assert all(change.dense is None for change in back.changes.values())


def test_a_lora_of_the_first_diffusers(sd1, tmp_path):
    site = "mid_block.attentions.0.transformer_blocks.0.attn2"
    layers = {
        f"{site}.to_k": f"{site}.processor.to_k_lora",
        f"{site}.to_out.0": f"{site}.processor.to_out_lora",
    }
    found = pairs(sd1.base, layers=list(layers))
    content = {f"unet.{layers[n]}.down.weight": a for n, (a, _) in found.items()}
    content |= {f"unet.{layers[n]}.up.weight": b for n, (_, b) in found.items()}
    torch.save(content, tmp_path / "pytorch_lora_weights.bin")
    back = read_files([tmp_path / "pytorch_lora_weights.bin"], sd1.base)
    close(back, {f"unet.{n}.weight": b @ a for n, (a, b) in found.items()})


@pytest.mark.parametrize("old", ["text_encoder.text_model.encoder", "text_encoder.encoder"])
@pytest.mark.parametrize("leaf", ["q_proj.lora_linear_layer.{}", "to_q_lora.{}"])
def test_a_lora_of_a_text_encoder_in_both_prefixes(sd1, old, leaf, tmp_path):
    a, b = random(2, 24), random(24, 2)
    stem = f"{old}.layers.0.self_attn."
    content = {stem + leaf.format("down") + ".weight": a, stem + leaf.format("up") + ".weight": b}
    save_file(content, tmp_path / "pytorch_lora_weights.safetensors")
    back = read_files([tmp_path / "pytorch_lora_weights.safetensors"], sd1.base)
    ((name, change),) = back.changes.items()
    assert name.endswith("layers.0.self_attn.q_proj.weight") and name.startswith("text_encoder.")
    assert torch.equal(change.full(), b @ a)


def test_alphas_in_the_header_and_beside_the_file(sd1, tmp_path):
    found = pairs(sd1.base)
    first = next(iter(found))
    wanted = {f"unet.{n}.weight": (b @ a) * (4 if n == first else 1.5) for n, (a, b) in found.items()}
    config = {"lora_alpha": 3, "r": 2, "alpha_pattern": {first: 8}}
    header = {"lora_adapter_metadata": json.dumps({f"unet.{key}": value for key, value in config.items()})}
    content = {f"{n}.lora_A.weight": a for n, (a, _) in found.items()} | {
        f"{n}.lora_B.weight": b for n, (_, b) in found.items()}  # fmt: skip
    path = tmp_path / "pytorch_lora_weights.safetensors"
    save_file({f"unet.{key}": value for key, value in content.items()}, path, metadata=header)
    close(read_files([path], sd1.base), wanted)
    adapter = tmp_path / "adapter_model.safetensors"
    save_file({f"base_model.model.{key}": value for key, value in content.items()}, adapter)
    with pytest.raises(InputError, match=r"adapter_config\.json"):
        read_files([adapter], sd1.base)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    close(read_files([adapter], sd1.base), wanted)
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({**config, "use_rslora": True}), encoding="utf-8"
    )
    close(read_files([adapter], sd1.base), {name: delta * 2**0.5 for name, delta in wanted.items()})


def test_an_alpha_of_its_own_is_before_the_headers(sd1, tmp_path):
    layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    a, b = random(2, 24), random(32, 2)
    content = {f"{layer}.lora_A.weight": a, f"{layer}.lora_B.weight": b, f"{layer}.alpha": torch.tensor(3.0)}
    header = {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 8})}
    save_file(content, tmp_path / "pytorch_lora_weights.safetensors", metadata=header)
    close(
        read_files([tmp_path / "pytorch_lora_weights.safetensors"], sd1.base),
        {f"{layer}.weight": (b @ a) * 1.5},
    )


def underscored(layer):
    return layer.replace(".", "_")


@pytest.mark.parametrize("names", ["diffusers", "original"])
def test_a_lora_in_kohyas_keys(sd1, names, tmp_path):
    found, content, wanted = pairs(sd1.base), {}, {}
    for layer, (a, b) in found.items():
        site, tail = layer.split(".transformer_blocks.")
        site = ORIGINAL["sd1"][site] if names == "original" else site
        stem = f"lora_unet_{underscored(f'{site}.transformer_blocks.{tail}')}"
        content |= {
            f"{stem}.lora_down.weight": a,
            f"{stem}.lora_up.weight": b,
            f"{stem}.alpha": torch.tensor(0.5),
        }
        wanted[f"unet.{layer}.weight"] = (b @ a) * 0.25
    stem = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    a, b = random(2, 24), random(37, 2)
    content |= {f"{stem}.lora_down.weight": a, f"{stem}.lora_up.weight": b}  # no alpha: 1
    full = next(name for name in sd1.base.models.own if name.endswith("layers.0.mlp.fc1.weight"))
    save_file(content, tmp_path / "lora.safetensors")
    close(read_files([tmp_path / "lora.safetensors"], sd1.base), {**wanted, full: b @ a})


def test_kohyas_two_text_encoders_are_told_apart(sdxl, tmp_path):
    content = {}
    for i, stem in enumerate(("lora_te1", "lora_te2")):
        stem += "_text_model_encoder_layers_0_self_attn_q_proj"
        content |= {
            f"{stem}.lora_down.weight": random(1, 24, seed=i),
            f"{stem}.lora_up.weight": random(24, 1, seed=i + 5),
        }
    save_file(content, tmp_path / "lora.safetensors")
    names = sorted(read_files([tmp_path / "lora.safetensors"], sdxl.base).changes)
    assert [name.partition(".")[0] for name in names] == ["text_encoder", "text_encoder_2"]


def test_convolutions_in_two_and_in_three_factors(sd1, tmp_path):
    stem, name = "lora_unet_mid_block_resnets_0_conv1", "unet.mid_block.resnets.0.conv1.weight"
    out, into = sd1.base.models.parameter(name).shape[:2]
    x = random(1, into, 6, 5)

    def checked(content, wanted):
        save_file({f"{stem}.{key}": value for key, value in content.items()}, tmp_path / "lora.safetensors")
        delta = read_files([tmp_path / "lora.safetensors"], sd1.base).changes[name].full()
        torch.testing.assert_close(torch.conv2d(x, delta, padding=1), wanted, rtol=1e-4, atol=1e-3)

    down, up, alpha = random(2, into, 3, 3), random(out, 2, 1, 1), torch.tensor(1.0)
    checked({"lora_down.weight": down, "lora_up.weight": up, "alpha": alpha},
            0.5 * torch.conv2d(torch.conv2d(x, down, padding=1), up))  # fmt: skip
    first, kernel = random(2, into, 1, 1), random(2, 2, 3, 3)
    checked({"lora_down.weight": first, "lora_mid.weight": kernel, "lora_up.weight": up, "alpha": alpha},
            0.5 * torch.conv2d(torch.conv2d(torch.conv2d(x, first), kernel, padding=1), up))  # fmt: skip
    checked(
        {"diff": down.repeat(out // 2, 1, 1, 1)}, torch.conv2d(x, down.repeat(out // 2, 1, 1, 1), padding=1)
    )


def test_a_matrix_for_a_1x1_convolution(sd1, tmp_path):
    name = "unet.mid_block.attentions.0.proj_in.weight"
    side = sd1.base.models.parameter(name).shape[0]
    a, b = random(1, side), random(side, 1)
    stem = "unet.mid_block.attentions.0.proj_in"
    save_file({f"{stem}.lora_A.weight": a, f"{stem}.lora_B.weight": b}, tmp_path / "lora.safetensors")
    change = read_files([tmp_path / "lora.safetensors"], sd1.base).changes[name]
    assert change.shape == (side, side, 1, 1) and torch.equal(change.full()[..., 0, 0], b @ a)


@pytest.mark.parametrize("leaf", ["string_to_param.*", "clip_l"])
def test_an_embedding_bundled_with_a_lora(sd1, leaf, tmp_path):
    stem = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    content = {f"{stem}.lora_down.weight": random(1, 24), f"{stem}.lora_up.weight": random(32, 1)}
    save_file({**content, f"bundle_emb.my.toy.{leaf}": ROWS}, tmp_path / "lora.safetensors")
    back = read_files([tmp_path / "lora.safetensors"], sd1.base)
    assert torch.equal(back.tokens["<my.toy>"][0], ROWS) and len(back.changes) == 1
    save_file({**content, "bundle_emb.toy.clip_l_out": ROWS}, tmp_path / "lora.safetensors")
    with pytest.raises(InputError, match="clip_l_out"):
        read_files([tmp_path / "lora.safetensors"], sd1.base)


@pytest.mark.parametrize("leaf", ["dora_scale", "hada_w1_a", "lokr_w1", "oft_blocks"])
def test_relatives_of_lora_are_refused_by_name(sd1, leaf, tmp_path):
    stem = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    save_file({f"{stem}.{leaf}": random(2, 2)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="convert it to LoRA"):
        read_files([tmp_path / "x.safetensors"], sd1.base)


# -- what is refused -------------------------------------------------------------------------------------------------

LAYER = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
STEM = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": ROWS, "b": ROWS}, "no format that motif reads"),
        ({"first_stage_model.x": ROWS, "model.diffusion_model.y": ROWS}, "whole checkpoint"),
        ({"model.diffusion_model.input_blocks.99.1.x": ROWS}, "no place in tiny"),
        ({f"{LAYER}.lora_A.weight": random(2, 24)}, "one of its two"),
        ({f"{LAYER}.lora_A.weight": random(2, 24), f"{LAYER}.lora_B.weight": random(32, 3)}, "no product"),
        ({f"{LAYER}.lora_A.weight": random(2, 24), f"{LAYER}.lora_B.weight": random(32, 2, 3, 3)}, "no product"),
        ({f"{STEM}.lora_down.weight": random(2, 24, 1, 1), f"{STEM}.lora_up.weight": random(32, 2, 1, 1),
          f"{STEM}.lora_mid.weight": random(3, 2, 3, 3)}, "no product"),
        ({f"{LAYER}.lora_A.weight": random(2, 25), f"{LAYER}.lora_B.weight": random(32, 2)}, r"\(32, 25\)"),
        ({"unet.nowhere.lora_A.weight": random(2, 24)}, "does not have"),
        ({"lora_unet_nowhere.lora_down.weight": random(2, 24)}, "does not have"),
        ({"unet.nowhere.weight": ROWS, "modifier_token.<new1>": random(24)}, "does not have"),
        ({"modifier_token.<new1>": random(24) / 0}, "not finite"),
        ({"modifier_token.<new1>": random(2, 2, 24)}, "one row or several"),
        ({"model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight": random(32, 25)}, "--base"),
        ({"state_dict.x": ROWS, "embed": random(25)}, "no place"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(sd1, content, message, tmp_path):
    save_file({name: value.clone() for name, value in content.items()}, tmp_path / "file.safetensors")
    with pytest.raises(InputError, match=message) as caught:
        read_files([tmp_path / "file.safetensors"], sd1.base)
    assert "\n" not in str(caught.value)


def test_weights_of_another_base_are_suspected(sd1, tmp_path, caplog):
    weights = {n: random(*w.shape, seed=9) for n, w in weights_near(sd1.base).items()}
    save_file({f"unet.{n}": w for n, w in weights.items()}, tmp_path / "delta.safetensors")
    read_files([tmp_path / "delta.safetensors"], sd1.base)
    assert "another base" in caplog.text
    caplog.clear()
    near = {n: sd1.base.models.parameter(f"unet.{n}") * 1.01 for n in weights}
    save_file({f"unet.{n}": w for n, w in near.items()}, tmp_path / "delta.safetensors")
    read_files([tmp_path / "delta.safetensors"], sd1.base)
    assert "another base" not in caplog.text


@pytest.mark.parametrize(
    ("token", "noun", "message"),
    [(["new1"], [], "no token"), (["<a>", "<b>"], [], "name as many"), (["<a>", "<a>"], [], "each once"),
     ([], ["cat", "dog"], "2 nouns for 1")],
)  # fmt: skip
def test_names_that_do_not_fit(sd1, token, noun, message, tmp_path):
    save_file({"<new1>": ROWS}, tmp_path / "learned_embeds.safetensors")
    with pytest.raises(InputError, match=message):
        read_files([tmp_path / "learned_embeds.safetensors"], sd1.base, token=token, noun=noun)


def test_two_files_that_change_one_weight_are_refused(sd1, tmp_path):
    weights = weights_near(sd1.base)
    for name in ("a", "b"):
        save_file({f"unet.{n}": w for n, w in weights.items()}, tmp_path / f"{name}.safetensors")
    with pytest.raises(InputError, match=r"a\.safetensors and b\.safetensors both change"):
        read_files([tmp_path / "a.safetensors", tmp_path / "b.safetensors"], sd1.base)


NAMES = st.sampled_from(
    ["unet", "modifier_token", "state_dict", "embed", "string_to_param", "name", "clip_l", "clip_g", "emb_params",
     f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight", f"{LAYER}.alpha", f"{LAYER}.weight", "<new1>", "text_encoder",
     "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
     "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.alpha", "bundle_emb.toy.clip_l", "*",
     "mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_k_custom_diffusion.weight",
     "modifier_token.<new1>",
     "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight", "u", "v"]
)  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.text(max_size=3), st.integers(), st.just([]),
    st.lists(st.integers(0, 33), max_size=4).map(lambda shape: torch.zeros(shape)),
    st.sampled_from([random(32, 24), random(2, 24), random(24), random(32, 2), torch.tensor(1.0)]),
)  # fmt: skip
VALUES = st.recursive(LEAVES, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(content=st.one_of(LEAVES, st.dictionaries(NAMES, VALUES, max_size=4)))
def test_any_pickle_of_data_is_a_concept_or_one_line(sd1, content, tmp_path):
    torch.save(content, tmp_path / "file.bin")
    try:
        concept = read_files([tmp_path / "file.bin"], sd1.base)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert concept.fault() is None and (concept.tokens or concept.changes)


def test_whole_weights_are_the_exports_own(sd1):
    """The helper that other tests compare with is right."""
    concept = concept_of(sd1.base)
    back = deltas(sd1.base, whole(sd1.base, concept))
    assert all(torch.allclose(back[n], c.full(), atol=1e-6) for n, c in concept.changes.items())
