"""Laws of the three alignment scores, and oracles that compute them another way."""

import itertools
import random

import pytest
import torch
from PIL import Image

from motif.errors import InputError
from motif.features.extractors import DinoEncoder, cosines
from motif.measure import ClipEncoder, clip_i, clip_t, dino_i

CLOSE = 1e-6


def bytes_of(picture: Image.Image) -> torch.Tensor:
    """[h, w, 3], uint8."""
    return torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(
        picture.height, picture.width, 3
    )


@pytest.fixture(params=["clip-i", "dino-i"])
def alignment(request, clip, dino):
    """Image alignment by either encoder, as a function of pictures and references."""
    metric, encoder = (clip_i, clip) if request.param == "clip-i" else (dino_i, dino)
    return lambda images, references, **settings: metric(images, references, encoder=encoder, **settings)


def test_a_picture_is_aligned_with_itself(alignment, pictures):
    score = alignment([pictures[0]] * 3, pictures[0])
    assert score.per_image == pytest.approx([1, 1, 1], abs=CLOSE)
    assert score.standard_error == pytest.approx(0, abs=CLOSE)


def test_different_pictures_are_less_aligned(alignment, pictures, references):
    assert max(alignment(pictures, references).per_image) < 0.999


def test_alignment_is_the_mean_of_all_pairs(alignment, pictures, references):
    score = alignment(pictures, references)
    pairs = [alignment(p, r).mean for p, r in itertools.product(pictures, references)]
    assert len(pairs) == 15
    assert score.mean == pytest.approx(sum(pairs) / 15, abs=CLOSE)
    assert score.n == 5


def test_alignment_of_the_two_sets_is_symmetric(alignment, pictures, references):
    assert alignment(pictures, references).mean == pytest.approx(
        alignment(references, pictures).mean, abs=CLOSE
    )


def test_order_of_references_is_irrelevant(alignment, pictures, references):
    assert alignment(pictures, references[::-1]).per_image == pytest.approx(
        alignment(pictures, references).per_image, abs=CLOSE
    )


@pytest.mark.parametrize("seed", range(3))
def test_permuted_pictures_permute_the_values(alignment, clip, pictures, references, seed):
    order = random.Random(seed).sample(range(5), 5)
    mixed = [pictures[i] for i in order]
    prompts = ["a cat", "a dog", "a red hat", "a photo", "the beach"]
    for before, after in (
        (alignment(pictures, references), alignment(mixed, references)),
        (clip_t(pictures, prompts, encoder=clip), clip_t(mixed, [prompts[i] for i in order], encoder=clip)),
    ):
        assert after.per_image == pytest.approx([before.per_image[i] for i in order], abs=CLOSE)
        assert after.mean == pytest.approx(before.mean, abs=CLOSE)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
def test_batch_size_changes_nothing(alignment, clip, pictures, references, batch_size):
    prompts = ["a cat", "a dog", "a red hat on a dog", "a photo", "the beach"]
    assert alignment(pictures, references, batch_size=batch_size).per_image == pytest.approx(
        alignment(pictures, references).per_image, abs=CLOSE
    )
    assert clip_t(pictures, prompts, encoder=clip, batch_size=batch_size).per_image == pytest.approx(
        clip_t(pictures, prompts, encoder=clip).per_image, abs=CLOSE
    )


def test_same_call_same_bits(alignment, pictures, references):
    assert alignment(pictures, references) == alignment(pictures, references)


def test_clip_t_is_two_and_a_half_times_the_clipped_cosine(clip, pictures):
    prompts = ["a photo of a cat", "a red hat", "the dog", "on the beach", "photo"]
    raw = torch.diagonal(cosines(clip.images(pictures), clip.texts(prompts)))  # [image]
    assert (raw < 0).any()
    assert (raw > 0).any()
    score = clip_t(pictures, prompts, encoder=clip)
    assert score.per_image == pytest.approx((2.5 * raw.clamp(min=0)).tolist(), abs=CLOSE)
    assert score.also["raw cosine"] == pytest.approx(raw.mean().item(), abs=CLOSE)
    assert clip_t(pictures, prompts, encoder=clip, scale=1).per_image == pytest.approx(
        raw.clamp(min=0).tolist(), abs=CLOSE
    )
    assert min(score.per_image) == 0


def test_one_prompt_for_all_is_that_prompt_each_time(clip, pictures):
    assert (
        clip_t(pictures, "a cat", encoder=clip).per_image
        == clip_t(pictures, ["a cat"] * 5, encoder=clip).per_image
    )


def test_concept_tokens_are_stripped_or_kept_as_asked(clip, pictures):
    plain = clip_t(pictures, "a photo of a cat", encoder=clip)
    stripped = clip_t(pictures, "a photo of a <new1> cat", encoder=clip)
    kept = clip_t(pictures, "a photo of a <new1> cat", encoder=clip, policy="keep")
    assert stripped.per_image == plain.per_image
    assert kept.also != plain.also
    assert "stripped" in str(stripped.choices["prompts"])
    assert "kept" in str(kept.choices["prompts"])


def test_text_is_pooled_at_the_first_end_even_with_added_tokens(clip_folder, clip):
    """With ids above the end's, transformers pools at the new token; ours stays at the first end."""
    other = ClipEncoder.load(clip_folder)
    assert other.tokenizer.add_tokens(["<new1>"]) == 1
    new = other.tokenizer.convert_tokens_to_ids("<new1>")
    assert new > other.tokenizer.eos_token_id
    other.model.text_model.resize_token_embeddings(len(other.tokenizer), mean_resizing=False)
    prompt = "a photo of a <new1> cat"
    ids = other.tokenizer(prompt, return_tensors="pt").input_ids  # [1, token], ends at the end
    with torch.inference_mode():
        states = other.model.text_model(input_ids=ids).last_hidden_state
        wanted = other.model.text_projection(states[:, -1])
        at_token = other.model.text_projection(states[0, ids[0].tolist().index(new)])[None]
        theirs = other.model.get_text_features(input_ids=ids).pooler_output
    torch.testing.assert_close(theirs, at_token)  # the trap is real in this version of transformers
    torch.testing.assert_close(other.texts([prompt]), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(other.texts(["a cat"]), clip.texts(["a cat"]), atol=1e-5, rtol=0)


def test_a_prompt_too_long_is_cut_and_counted(clip, pictures):
    long = " ".join(["a red hat on the dog"] * 9)
    score = clip_t(pictures, [long, "a cat", "a cat", long, "a dog"], encoder=clip)
    assert score.choices["cut prompts"] == 1
    assert str(score.choices["prompts"]).startswith("3 different")
    assert clip.texts([long])[0] == pytest.approx(clip.texts([long + " photo"])[0])


def test_clip_t_agrees_with_torchmetrics(clip_folder, clip, pictures):
    """torchmetrics' CLIPScore over transformers' own model and processor: 100 max(cos, 0) of a picture."""
    from torchmetrics.functional.multimodal import clip_score
    from transformers import CLIPModel, CLIPProcessor, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    class Model(CLIPModel):
        """transformers 5 answers with objects; torchmetrics wants tensors."""

        def get_image_features(self, *args, **kwargs):
            return super().get_image_features(*args, **kwargs).pooler_output

        def get_text_features(self, *args, **kwargs):
            return super().get_text_features(*args, **kwargs).pooler_output

    processor = CLIPProcessor(
        CLIPImageProcessorPil.from_pretrained(clip_folder), CLIPTokenizer.from_pretrained(clip_folder)
    )
    model = Model.from_pretrained(clip_folder)
    prompts = ["a photo of a cat", "a red hat", "the dog", "on the beach", "photo"]
    tensors = [bytes_of(p).permute(2, 0, 1) for p in pictures]
    for prompt in prompts:
        with torch.inference_mode():
            theirs = [
                float(clip_score(tensor, prompt, lambda: (model, processor))) / 100 for tensor in tensors
            ]
        ours = clip_t(pictures, prompt, encoder=clip, scale=1)
        assert ours.per_image == pytest.approx(theirs, abs=2e-6)


def test_dino_i_agrees_with_a_direct_computation(dino_folder, pictures, references):
    """CLS of transformers' own model over pictures prepared step by step with Pillow."""
    from transformers import ViTModel

    model = ViTModel.from_pretrained(dino_folder)

    def feature(p: Image.Image) -> torch.Tensor:
        side = 32  # 28 x 256 / 224
        size = (
            (side, side * p.height // p.width) if p.width < p.height else (side * p.width // p.height, side)
        )
        p = p.resize(size, Image.Resampling.BICUBIC)
        left, top = round((p.width - 28) / 2), round((p.height - 28) / 2)
        x = bytes_of(p).float() / 255
        x = x[top : top + 28, left : left + 28] - torch.tensor([0.485, 0.456, 0.406])
        x = x / torch.tensor([0.229, 0.224, 0.225])
        with torch.no_grad():
            out = model(x.permute(2, 0, 1)[None]).last_hidden_state[0, 0]
        return out / out.norm()

    theirs = torch.stack([feature(p) for p in pictures]) @ torch.stack([feature(r) for r in references]).T
    ours = dino_i(pictures, references, encoder=DinoEncoder.load(dino_folder))
    assert ours.per_image == pytest.approx(theirs.mean(1).tolist(), abs=2e-6)


def test_every_choice_is_named(clip, dino, pictures, references):
    for score in (clip_i(pictures, references, encoder=clip), dino_i(pictures, references, encoder=dino)):
        assert {
            "encoder",
            "backbone",
            "folder",
            "weights",
            "preprocessing",
            "pairs",
            "scale",
            "standard error",
        } <= set(score.choices)
        assert "5 x 3" in str(score.choices["pairs"])
    assert {"prompts", "pooled at", "scale"} <= set(clip_t(pictures, "a cat", encoder=clip).choices)


@pytest.mark.parametrize(
    ("prompts", "settings", "words"),
    [
        (["a cat"] * 4, {}, "4 prompts for 5 pictures"),
        ("<new1>", {}, "<new1>"),
        ("", {"policy": "keep"}, "empty"),
        ("a cat", {"policy": "drop"}, "drop"),
        ("a cat", {"scale": 0}, "scale 0"),
        ("a cat", {"scale": float("nan")}, "scale nan"),
        ("a cat", {"batch_size": 0}, "batch size 0"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(clip, pictures, prompts, settings, words):
    with pytest.raises(InputError, match=words):
        clip_t(pictures, prompts, encoder=clip, **settings)


def test_a_broken_encoder_is_refused_not_averaged(clip_folder, pictures, references):
    broken = ClipEncoder.load(clip_folder)
    with torch.no_grad():
        broken.model.visual_projection.weight.zero_()  # every feature is 0: no direction, no cosine
    with pytest.raises(InputError, match="no finite value for picture 0"):
        clip_i(pictures, references, encoder=broken)
    with pytest.raises(InputError, match="no finite value"):
        clip_t(pictures, "a cat", encoder=broken)
