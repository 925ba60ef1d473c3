"""What holds of every edit and every inversion: same prompt, no window, several at once, any order."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from edit_pieces import SOURCE, STEPS, inverted, photo
from motif import edit
from motif.edit.edited import _shown
from motif.edit.injection import SelfInjection
from motif.edit.planned import Blend, Settings, planned, require_layers
from motif.edit.run import carried_out
from motif.edit.windows import Window
from motif.errors import InputError, WrongBase
from motif.invert import ddim
from motif.lanes import denoise, finish
from motif.methods import EDIT, INVERT
from pieces import concept_of, gap

TARGET = "a dog on sea"
FROM_ONE = {
    "prompt-to-prompt": {"blend": ["cat"]},
    "p2plus": {},
    "word-swap": {},
    "pix2pix-zero": {"regularise": 0},
}


def run(base: Any, name: str, inversion: Any, prompt: Any, **settings: Any) -> Any:
    return EDIT[name].load()(base, inversion, prompt, **settings)


@pytest.mark.parametrize("name", FROM_ONE)
@pytest.mark.parametrize("method", INVERT)
def test_the_same_prompt_is_the_reconstruction(sd1, method, name):
    inversion = inverted(sd1.base, method)
    if name == "pix2pix-zero" and method not in ("ddim", "negative-prompt", "direct"):
        with pytest.raises(InputError, match=method):
            run(sd1.base, name, inversion, SOURCE, **FROM_ONE[name])
        return
    found = run(sd1.base, name, inversion, SOURCE, **FROM_ONE[name])
    if (
        name == "pix2pix-zero" and method != "direct"
    ):  # the caption at the unconditional side: DDIM at guidance 1
        wanted = inversion.reconstruct(sd1.base, guidance=1.0)
    else:
        wanted = inversion.reconstruct(sd1.base)
    assert gap(found.latents[0], wanted) < 1e-4


@pytest.mark.parametrize("method", INVERT)
def test_the_same_prompt_is_the_reconstruction_photo_by_photo(sd1, method):
    """The target is the first photo's caption: of two photos it is that one's reconstruction, and the other's edit, as
    each of them alone."""
    captions = [SOURCE, "a red tea on the sea"]
    both = inverted(sd1.base, method, [photo(1), photo(2)], captions)
    for name in ("prompt-to-prompt", "p2plus", "word-swap"):
        found = run(sd1.base, name, both, SOURCE, **({"mode": "refine"} if name != "word-swap" else {}))
        assert gap(found.latents[0, 0], both.reconstruct(sd1.base)[0]) < 1e-4, name
        assert gap(found.latents[0, 1], both.reconstruct(sd1.base)[1]) > 1e-3, name
        for i in range(2):
            more = {"mode": "refine"} if name != "word-swap" else {}
            one = run(sd1.base, name, both.only(i), SOURCE, **more)
            assert gap(found.latents[0, i], one.latents[0, 0]) < 1e-4, (name, i)


@pytest.mark.parametrize("said", [f"{SOURCE} ", f" {SOURCE}", SOURCE.upper(), SOURCE.replace(" ", "  ")])
def test_a_prompt_is_the_same_where_the_text_encoder_reads_the_same(small, said):
    inversion = inverted(small.base, "direct")
    for name in ("prompt-to-prompt", "word-swap"):
        found = run(small.base, name, inversion, said)
        assert gap(found.latents[0], inversion.reconstruct(small.base)) < 1e-4, name


def test_a_drawn_seed_is_the_start_of_every_edit_or_is_refused_by_name(sd1):
    start = edit.seeded(sd1.base, SOURCE, seed=5, steps=STEPS, guidance=3.0)
    style = inverted(sd1.base, "value-embedding")
    assert len(edit.style_transfer(sd1.base, start, TARGET, style=style).images) == 1
    with pytest.raises(InputError, match="drawn seed"):
        edit.pix2pix_zero(sd1.base, start, TARGET)


def test_drawn_sources_follow_too(sd1):
    start = edit.seeded(sd1.base, SOURCE, seed=5, n=2, steps=STEPS, guidance=3.0)
    found = edit.prompt_to_prompt(sd1.base, start, SOURCE, self_until=0, cross_until=0.5)
    assert [a.tobytes() for a in found.images] == [b.tobytes() for b in found.reconstructions]


def test_self_maps_up_to_a_quarter_are_fewer_than_up_to_half(pocket, sd1):
    """Level by level, also where a map has few cells (4 x 4 on pocket); a base without such layers says so."""
    from motif.attention import Call, Row

    text = pocket.read(SOURCE)
    rows = tuple(Row(lane, "cond", slice(i, i + 1), text) for i, lane in enumerate(("source", "target")))
    call = Call(rows, 0, 4, 500, pocket.latent_shape()[1:])
    levels = {
        part: {site.level for site in pocket.models.sites
               if SelfInjection({"target": Window(0, 1)}, part=part).looks(site, call) and site.kind == "self"}
        for part in (2, 4)
    }  # fmt: skip
    assert levels == {2: {1, 2}, 4: {2}}
    deep = [site for site in sd1.base.models.sites if site.level < 2]
    shallow = SimpleNamespace(name="shallow", models=SimpleNamespace(sites=deep))
    require_layers(shallow, "half")
    with pytest.raises(InputError, match="shallow has no self-attention at a quarter"):
        require_layers(shallow, "quarter")


def test_every_window_is_looked_at(sd1):
    """Of several strengths the second too, and those of words."""
    base, inversion = sd1.base, inverted(sd1.base)
    for use in (
        Settings(Window(0, 0.8), [Window(0, 0.5), Window(0, 0.1)]),
        Settings(Window(0, 0.8), [Window(0, 0.5)], words={"dog": Window(0.5, 0.55)}),
    ):
        with pytest.raises(InputError, match="shorter"):
            planned(base, inversion, [TARGET] * len(use.own), use)
    never = Settings(Window(0, 0.8), [Window(0, 0.5), Window(0, 0)], words={"dog": Window(0, 0)})
    assert len(planned(base, inversion, [TARGET] * 2, never).lanes) == 3


@pytest.mark.parametrize("method", ["ddim", "null-text", "negative-prompt", "proximal", "value-embedding"])
def test_injection_alone_gives_the_reconstruction_too(small, method):
    """Without the rule that a lane that nothing sets apart is the source."""
    inversion = inverted(small.base, method)
    use = Settings(
        Window(0, 0.8), [Window(0, 0.5)], mode="refine", unguided=Window(0, 0.5), blend=Blend(["cat"])
    )
    plan = dataclasses.replace(planned(small.base, inversion, [SOURCE], use), same={})
    found = carried_out(small.base, inversion, plan, method="", settings={})
    assert gap(found.latents[0], inversion.reconstruct(small.base)) < 1e-4


@pytest.mark.parametrize("method", ["direct", "null-text", "text-embedding", "value-embedding"])
def test_custom_edit_of_its_own_prompt_is_the_reconstruction(sd1, method):
    base = sd1.base.wear(concept_of(sd1.base))
    prompt = "a <new1> cat on sea"
    inversion = inverted(base, method, prompt=prompt)
    found = edit.custom_edit(base, inversion, prompt, strengths=[0.25, 0.75], blend=["cat"])
    for one in found.latents:
        assert gap(one, inversion.reconstruct(base)) < 1e-4
    assert found.reconstructions[0].tobytes() == found.images[0].tobytes() == found.images[1].tobytes()


def test_a_strip_shows_source_reconstruction_mask_and_edit(sd1):
    """A cell each; where there is no mask, what was changed stands in its place."""
    inversion = inverted(sd1.base)
    blended = edit.prompt_to_prompt(sd1.base, inversion, TARGET, blend=["cat"])
    plain = edit.word_swap(sd1.base, inversion, [TARGET, SOURCE])
    sketch = edit.sdedit(sd1.base, photo(), TARGET, strength=0.5, steps=STEPS)
    drawn = edit.word_swap(sd1.base, edit.seeded(sd1.base, SOURCE, steps=STEPS), TARGET)
    cell = blended.strip().width / 4
    widths = [found.strip().width / cell for found in (blended, plain, sketch, drawn)]
    assert widths == pytest.approx([4, 6, 4, 3], abs=0.1)
    assert plain.reconstructions[0].tobytes() == plain.images[1].tobytes()  # nothing changed there


def test_a_strip_with_labels_says_its_prompt_and_a_mask_is_framed(sd1):
    inversion = inverted(sd1.base)
    plain = edit.prompt_to_prompt(sd1.base, inversion, TARGET, blend=["cat"])
    said = dataclasses.replace(plain, labels=("strength 0.4",))
    assert said.strip().height > plain.strip().height
    white = dataclasses.replace(plain, masks=torch.ones_like(plain.masks), images=plain.images[:1])
    colours = {colour for _, colour in _shown(white.masks[0, 0], (16, 16)).getcolors()}
    assert colours == {(255, 255, 255), (128, 128, 128)}


def test_a_picture_without_a_mask_of_its_own_is_refused(sd1):
    """Each photo and target needs a blend word that one of their prompts says: else it would stay its source."""
    both = inverted(sd1.base, "ddim", [photo(1), photo(2)], [SOURCE, "a red tea on the sea"])
    with pytest.raises(InputError, match='"a red tea on the sea" or "a dog on sea"'):
        edit.prompt_to_prompt(sd1.base, both, TARGET, blend=["cat"])
    with pytest.raises(InputError, match="no blend word"):
        edit.prompt_to_prompt(sd1.base, both, TARGET, blend=["cat"], blend_from="source")
    assert edit.prompt_to_prompt(sd1.base, both, TARGET, blend=["dog"]).masks is not None


def test_a_mask_of_everything_or_nothing_is_told(sd1, caplog):
    inversion = inverted(sd1.base)
    edit.prompt_to_prompt(sd1.base, inversion, TARGET, blend=["cat"], blend_threshold=0.0)
    assert "whole picture" in caplog.text
    edit.prompt_to_prompt(sd1.base, inversion, TARGET, blend=["cat"], spare=["cat", "a", "on", "sea", "dog"],
                          blend_threshold=0.0)  # fmt: skip
    assert "is empty" in caplog.text


def test_a_target_of_direct_inversion_is_not_pinned(sd1):
    """So that the rule matters there."""
    inversion = inverted(sd1.base, "direct")
    use = Settings(Window(0, 0.8), [Window(0, 0.5)])
    plan = dataclasses.replace(planned(sd1.base, inversion, [SOURCE], use), same={})
    found = carried_out(sd1.base, inversion, plan, method="", settings={})
    assert gap(found.latents[0], inversion.latents[0]) > 1e-3


def test_the_source_of_direct_inversion_is_the_photo_bit_for_bit(small):
    inversion = inverted(small.base, "direct")
    use = Settings(Window(0, 0.8), [Window(0, 0.5)], blend=Blend(["cat", "dog"]))
    plan = planned(small.base, inversion, [TARGET], use)
    controls = [*inversion.controls(small.base), *plan.controls, plan.blend]
    with torch.no_grad():
        done = finish(denoise(small.base, plan.lanes, steps=STEPS, controls=controls))
    assert torch.equal(done["source"], inversion.latents[0])


def test_without_windows_it_is_the_word_swap(small):
    inversion = inverted(small.base)
    plain = edit.word_swap(small.base, inversion, TARGET)
    found = edit.prompt_to_prompt(small.base, inversion, TARGET, cross_until=0, self_until=0)
    assert torch.equal(found.latents, plain.latents)
    for settings in ({"self_until": 0}, {"cross_until": 0}):
        part = edit.prompt_to_prompt(small.base, inversion, TARGET, **settings)
        assert gap(part.latents, plain.latents) > 1e-4, settings


def test_all_cross_maps_of_a_replaced_word_are_the_source_s(sd1):
    """Replace by words of as many tokens: the target's maps are the source's, all of them."""
    seen: dict[int, Any] = {}

    class Spy(SelfInjection):
        def looks(self, site: Any, call: Any) -> bool:
            return site.kind == "cross"

        def maps(self, site: Any, call: Any, maps: Any) -> Any:
            seen[len(seen)] = (maps[call.row("source").span], maps[call.row("target").span])
            return maps

    inversion = inverted(sd1.base)
    use = Settings(Window(0, 1), [Window(0, 0)], mode="replace")
    plan = planned(sd1.base, inversion, ["a tea on sea"], use)
    spied = dataclasses.replace(plan, controls=[*plan.controls, Spy({})])
    carried_out(sd1.base, inversion, spied, method="", settings={})
    assert seen and all(torch.equal(a, b) for a, b in seen.values())


def test_p2plus_without_its_window_is_prompt_to_prompt(small):
    inversion = inverted(small.base)
    wanted = edit.prompt_to_prompt(small.base, inversion, TARGET)
    assert torch.equal(edit.p2plus(small.base, inversion, TARGET, uncond_until=0).latents, wanted.latents)
    assert gap(edit.p2plus(small.base, inversion, TARGET).latents, wanted.latents) > 1e-4


def test_several_targets_are_each_alone(small):
    inversion = inverted(small.base, "negative-prompt")
    prompts = [TARGET, "a red cat on sea", "tea"]
    settings = {"blend": ["cat", "sea", "tea"], "louder": {"sea": 2.0}}
    together = edit.prompt_to_prompt(small.base, inversion, prompts, **settings)
    assert len(together.images) == 3
    first = edit.prompt_to_prompt(
        small.base, inversion, prompts[0], blend=["cat", "sea"], louder={"sea": 2.0}
    )
    assert gap(together.latents[0], first.latents[0]) < 1e-5
    last = edit.prompt_to_prompt(small.base, inversion, prompts[2], blend=["cat", "sea", "tea"])
    assert gap(together.latents[2], last.latents[0]) < 1e-5


def test_several_photos_with_captions_of_their_own_are_each_alone(small):
    photos, captions = [photo(1, (16, 24)), photo(2, (16, 24))], ["a cat on sea", "a tea cat on the sea"]
    size = {"height": 16, "width": 24}
    both = inverted(small.base, "null-text", photos, captions, **size)
    settings = {"blend": ["cat"], "louder": {"red": 2.0}}
    found = edit.prompt_to_prompt(small.base, both, "a red cat on sea", **settings)
    for i in range(2):
        one = edit.prompt_to_prompt(small.base, both.only(i), "a red cat on sea", **settings)
        assert gap(found.latents[0, i], one.latents[0, 0]) < 1e-5
        assert torch.equal(found.masks[0, i], one.masks[0, 0])


def test_the_order_of_lanes_is_no_matter(small):
    inversion = inverted(small.base, "proximal")
    use = Settings(Window(0, 0.8), [Window(0, 0.5)], blend=Blend(["cat", "dog"]))

    def ends(turned: bool) -> Any:
        plan = planned(small.base, inversion, [TARGET, "a red cat on sea"], use)
        lanes = [*reversed(plan.lanes)] if turned else plan.lanes
        controls = [*inversion.controls(small.base), *plan.controls, plan.blend]
        with torch.no_grad():
            return finish(denoise(small.base, lanes, steps=STEPS, controls=controls))

    one, other = ends(False), ends(True)
    assert all(gap(one[name], other[name]) < 1e-5 for name in one)


def test_guidance_1_needs_no_unconditional_side(sd1):
    inversion = inverted(sd1.base)
    found = edit.prompt_to_prompt(sd1.base, inversion, TARGET, guidance=1.0)
    assert found.evaluations == 2 * STEPS
    guided = edit.prompt_to_prompt(sd1.base, dataclasses.replace(inversion, way=None), TARGET)
    assert guided.evaluations == 4 * STEPS
    with pytest.raises(InputError, match="unconditional"):
        edit.p2plus(sd1.base, inversion, TARGET, guidance=1.0)


def test_a_seed_s_source_is_what_is_sampled(small):
    from motif.sample.plain import plain

    start = edit.seeded(small.base, SOURCE, seed=5, n=2, steps=STEPS, guidance=3.0)
    found = edit.prompt_to_prompt(small.base, start, TARGET)
    wanted = plain(small.base, SOURCE, n=2, seed=5, steps=STEPS, guidance=3.0)
    assert [image.tobytes() for image in found.reconstructions] == [image.tobytes() for image in wanted]
    assert len(found.images) == 2 and not found.sources


def test_a_learned_token_is_edited_in(small):
    base = small.base.wear(concept_of(small.base, vectors=2))
    inversion = inverted(base)
    found = edit.prompt_to_prompt(base, inversion, "a <new1> cat on sea", blend=["cat"], louder={"<new1>": 2})
    assert found.masks.any()
    with pytest.raises(WrongBase, match="worn"):
        edit.prompt_to_prompt(small.base, inversion, TARGET)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"louder": {"tiger": 2.0}}, "tiger"),
        ({"louder": ["dog"]}, "WORD=NUMBER"),
        ({"louder": {"dog": 2.0}, "cross_until": 0}, "louder"),
        ({"louder": {"dog": 2.0}, "cross_until": 0, "cross_words": {"sea": 0.5}}, "louder"),
        ({"louder": {"dog": 2.0}, "cross_words": {"dog": 0.0}}, "louder"),
        ({"cross_words": {"tiger": 0.2}}, "tiger"),
        ({"cross_from": 0.9, "cross_until": 1.0}, "shorter"),
        ({"blend": ["tiger"]}, "tiger"),
        ({"blend": ["dog"], "blend_from": "source"}, "dog"),
        ({"spare": ["cat"]}, "blend"),
        ({"self_until": 0.1}, "shorter"),
        ({"cross_until": 1.5}, "window"),
        ({"blend": ["cat"], "blend_start": 1.0}, "start"),
        ({"blend_threshold": 0.5}, "blend_threshold would change nothing"),
        ({"blend_from": "source"}, "blend_from would change nothing"),
        ({"self_until": 0, "self_up_to": "quarter"}, "self_up_to would change nothing"),
        ({"tail": "official", "mode": "refine"}, "tail would change nothing"),
        ({"mode": "replace"}, "as many"),
    ],
)
def test_what_cannot_act_is_an_error(sd1, settings, word):
    inversion = inverted(sd1.base)
    with pytest.raises(InputError, match=word):
        edit.prompt_to_prompt(
            sd1.base, inversion, "a dog on the sea" if "mode" in settings else TARGET, **settings
        )


def test_two_tails_differ_only_where_a_word_is_longer(sd1):
    inversion = inverted(sd1.base)
    cat, tea, dog = (sd1.base.tokenise([word])[0][0].end for word in ("cat", "tea", "dog"))
    assert cat == tea != dog
    with pytest.raises(InputError, match="tail would change nothing"):
        edit.prompt_to_prompt(sd1.base, inversion, SOURCE.replace("cat", "tea"), tail="official")
    assert edit.prompt_to_prompt(sd1.base, inversion, TARGET, tail="official").evaluations > 0


BLENDS: dict[str, dict[str, Any]] = {
    "prompt-to-prompt": {"blend_from": "union"},
    "p2plus": {"blend_from": "source"},
    "custom-edit": {"strengths": [0.25, 0.75]},
}


@pytest.mark.parametrize("method", INVERT)
def test_outside_of_its_mask_a_blended_edit_is_the_source(sd1, method):
    """For every inversion and every edit with a local blend, latent for latent; inside it is not."""
    base = sd1.base.wear(concept_of(sd1.base))
    inversion = inverted(base, method)
    source = inversion.reconstruct(base)
    for name, settings in BLENDS.items():
        prompt, narrow = "a <new1> cat on sea", {"blend": ["cat"], "blend_threshold": 0.999}
        found = run(base, name, inversion, prompt, **narrow, **settings)
        for one, mask in zip(found.latents, found.masks, strict=True):
            inside = mask[:, None].expand_as(one)
            assert inside.any() and not inside.all(), name
            assert gap(one[~inside], source[~inside]) < 1e-5, name
            assert gap(one[inside], source[inside]) > 1e-3, name


def test_batch_and_order_of_photos_change_nothing_in_any_edit(sd1):
    base = sd1.base.wear(concept_of(sd1.base))
    photos, captions = [photo(1), photo(2)], [SOURCE, "a red cat on the sea"]
    style = inverted(base, "value-embedding", prompt="tea")
    told: dict[str, dict[str, Any]] = {
        "prompt-to-prompt": {"blend": ["cat"], "mode": "refine"},
        "custom-edit": {"blend": ["cat"]},
        "style-transfer": {"style": style},
        "sdedit": {"strength": 0.5},
    }
    for method in ("direct", "proximal"):
        both, turned = (inverted(base, method, photos[::d], captions[::d]) for d in (1, -1))
        for name in EDIT if method == "direct" else (*BLENDS, "word-swap"):
            settings = told.get(name, {})
            found, other = (
                run(base, name, each, "a <new1> cat on sea", **settings) for each in (both, turned)
            )
            for i in range(2):
                more = {"seed": i} if name == "sdedit" else {}  # photo i has the seed's i-th noise
                alone = run(base, name, both.only(i), "a <new1> cat on sea", **settings, **more)
                assert gap(found.latents[0, i], alone.latents[0, 0]) < 1e-4, (method, name, i)
                if name != "sdedit":
                    assert gap(found.latents[0, i], other.latents[0, 1 - i]) < 1e-4, (method, name, i)
            assert gap(found.latents[0, 0], found.latents[0, 1]) > 1e-2, (method, name)


def test_a_target_without_a_blend_word_is_refused_and_not_blended_away(sd1):
    """The other target's word makes no mask for it; nor does another photo's caption."""
    inversion = inverted(sd1.base)
    with pytest.raises(InputError, match='nothing of the edit "a red tea on sea"'):
        edit.prompt_to_prompt(sd1.base, inversion, [TARGET, "a red tea on sea"], blend=["dog"])
    both = inverted(sd1.base, photos=[photo(1), photo(2)], prompt=[SOURCE, "tea on the sea"])
    with pytest.raises(InputError, match='"tea on the sea"'):
        edit.prompt_to_prompt(sd1.base, both, TARGET, blend=["cat"], blend_from="source")
    found = edit.prompt_to_prompt(sd1.base, both, TARGET, blend=["cat", "dog"])
    assert found.masks.flatten(2).any(2).all()


def test_another_step_count_or_base_is_refused(sd1, sdxl):
    with pytest.raises(WrongBase):
        edit.word_swap(sdxl.base, ddim(sd1.base, photo(), SOURCE, steps=STEPS), TARGET)


def test_the_same_call_is_the_same_picture(sd1):
    inversion = inverted(sd1.base)
    one, two = (edit.prompt_to_prompt(sd1.base, inversion, TARGET, blend=["cat"]) for _ in range(2))
    assert torch.equal(one.latents, two.latents)
