"""What each protocol of `protocol.py` makes, draws and measures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from protocol_plan import ALONE, TOKEN, Draw, Plan, Row, Words

from motif.errors import InputError
from motif.files import read_text
from motif.measure.readers.custom_concept import filled

ELITE_TOKEN = "<S>"
JOINT = ("custom-diffusion", "dreambooth", "fine-tune-all")
ONE_PHOTO = (ALONE, "dreambooth", "custom-diffusion")
EDITED = ("custom-edit", ALONE, "dreambooth")
CROSS, SDEDIT, SEEDS = (0.2, 0.6), (0.5, 0.6, 0.7, 0.8), (0, 1, 2)
"""Custom-Edit: two samples of Prompt-to-Prompt by their cross maps' window; SDEdit's strengths and seeds."""


def pairs(data: Path, plan: Plan) -> list[Row]:
    """Two concepts in one picture (Custom Diffusion, tables 1, 4, 8; customization card, 4.2 and 4.3)."""
    from motif.measure.readers import concept_pairs

    return [row for pair in plan.few(concept_pairs(data)) for row in _pair(pair, plan)]


def _pair(pair: Any, plan: Plan) -> list[Row]:
    both = (pair.first, pair.second)
    if pair.first.name == pair.second.name:
        raise InputError(f"{pair.name}: both concepts have photos in a folder of the same name")
    told = [{"instance_prompt": c.caption, "instance_data_dir": str(c.photos.resolve())} for c in both]
    home = plan.case(
        pair.name, [c.photos for c in both], [pair.prompts(), [[c.caption, c.noun] for c in both]]
    )
    plan.texts[home / "concepts.json"] = json.dumps(told, indent=1) + "\n"
    scored = plan.said(home / "said.txt", pair.prompts(token=False), plan.n)
    prompts = plan.said(home / "prompts.txt", pair.prompts())
    words = plan.said(home / "words.txt", filled(pair.prompt_file, [c.token for c in both]))
    plan.links |= {home / "references" / c.name: c.photos for c in both}

    rows: list[Row] = []
    for name, (makes, worn) in _together(pair, plan, home).items():
        spot = home / name.replace(", ", "-").replace(" ", "-")
        drawn, references = spot / "drawn", home / "references"
        scores = plan.measure(
            spot,
            text=("clip-t", drawn, scored, "--scale", "2.5"),
            image=("concepts", drawn, references),
            dino=("concepts", drawn, references, "--features", "dino"),
        )
        draws = plan.draw("plain", words if name.startswith(ALONE) else prompts, worn, drawn)
        rows.append(Row(pair.name, name, makes, (draws,), scores))
    return rows


def _together(
    pair: Any, plan: Plan, home: Path
) -> dict[str, tuple[tuple[tuple[Path, Words], ...], tuple[Path, ...]]]:
    """{row: (what makes its concepts, those that it wears)}."""

    def one(method: str, which: int, *more: str, name: str = "") -> tuple[Path, Words]:
        c = (pair.first, pair.second)[which]
        place = home / f"{name or f'{method}-{which + 1}'}.safetensors"
        return plan.learn(method, place, c.photos, c.caption, *more, start=c.noun, token=c.token)

    base = str(plan.file("sample-ddpm").get("base", "pocket"))
    first, second = one("custom-diffusion", 0), one("custom-diffusion", 1)
    after = one("custom-diffusion", 1, "--wear", str(first[0]), name="custom-diffusion-after")
    merged = home / "merged.safetensors"
    merge = ("merge", str(first[0]), str(second[0]), "--base", base, *plan.device, "-o", str(merged))
    apart = one(ALONE, 0), one(ALONE, 1)
    found = {
        "custom-diffusion, merge": ((first, second, (merged, merge)), (merged,)),
        "custom-diffusion, sequential": ((first, after), (after[0],)),
        f"{ALONE}, both worn": (apart, (apart[0][0], apart[1][0])),
    }
    for method in JOINT:
        place = home / f"{method}-joint.safetensors"
        words = ("learn", method, "--concepts", str(home / "concepts.json"))
        words = (*words, *plan.using(method, as_=f"{method}-joint"), "-o", str(place))
        found[f"{method}, joint"] = (((place, words),), (place,))
    return found


def subjects(data: Path, plan: Plan) -> list[Row]:
    """DreamBench from one photo of each (ELITE, table 2; card, 8)."""
    from motif.measure.readers import dreambench

    if not plan.elite:
        raise InputError("subjects are encoded by ELITE: name its encoder's file with --elite")
    return [row for subject in plan.few(dreambench(data)) for row in _subject(subject, plan)]


def _subject(subject: Any, plan: Plan) -> list[Row]:
    from motif.features.pictures import gather
    from motif.images import mask_path
    from motif.measure.readers import dreambench_prompts

    noun, first = subject.noun, Path(str(gather(str(subject.photos), f"photos of {subject.name}")[0]))
    shown = [path for path in (first, mask_path(first)) if path.is_file()]
    home = plan.case(subject.name, shown, [noun, subject.kind])
    photos = home / "photo"
    photo = photos / first.name
    plan.links |= {photos / path.name: path for path in shown}
    scored = plan.said(home / "said.txt", dreambench_prompts(subject.kind, noun), plan.n)

    encoded = home / "elite.safetensors"
    encode = ("encode", plan.elite, str(photo), "--noun", noun, "--token", ELITE_TOKEN, *plan.device)
    ways = {"elite": (encoded, (*encode, "-o", str(encoded)))}
    for method in ONE_PHOTO:
        prior = () if method == ALONE else ("--class-prompt", f"A photo of a {noun}")
        place, caption = home / f"{method}.safetensors", f"photo of a {TOKEN} {noun}"
        ways[method] = plan.learn(method, place, photos, caption, *prior, start=noun)
    rows: list[Row] = []
    for name, make in ways.items():
        word = {"elite": ELITE_TOKEN, ALONE: TOKEN}.get(name, f"{TOKEN} {noun}")
        prompts = plan.said(home / f"{name}.txt", dreambench_prompts(subject.kind, word))
        drawn = home / name / "drawn"
        scores = plan.measure(
            home / name,
            text=("clip-t", drawn, scored, "--scale", "1"),  # the raw cosine, as the paper's
            image=("clip-i", drawn, photo),
            dino=("dino-i", drawn, photo),
        )
        draws = plan.draw("elite" if name == "elite" else "plain", prompts, (make[0],), drawn)
        rows.append(Row(subject.name, name, (make,), (draws,), scores))
    return rows


def edits(data: Path, plan: Plan) -> list[Row]:
    """An object put into pictures (Custom-Edit, figures 4 and G; customization card, 8)."""
    try:
        told = list(json.loads(read_text(data)))
    except (ValueError, TypeError) as error:
        raise InputError(f"{data}: holds no JSON list of objects: {error}") from None
    rows: list[Row] = []
    if not told:
        raise InputError(f"{data}: holds no objects")
    for i, concept in enumerate(plan.few(told)):
        if wrong := _lacking(concept):
            raise InputError(f"{data}: object {i} {wrong}")
        places = [concept["photos"], *(edit["photo"] for edit in concept["edits"])]
        places += [concept["prior"]] if concept.get("prior") else []
        photos = [data.parent / place for place in places]
        plan.case(concept["name"], photos, concept)
        rows += [row for method in EDITED for row in _edited(concept, method, data.parent, plan)]
    return rows


def _lacking(concept: Any) -> str:
    """What an entry of an edits.json lacks; "" where it is one."""

    def text(told: Any, key: str) -> bool:
        return isinstance(told, dict) and isinstance(told.get(key), str) and bool(told[key])

    for key in ("name", "photos", "prompt"):
        if not text(concept, key):
            return f"has no {key}"
    if not concept["prompt"].partition(f"{TOKEN} ")[2].strip():
        return f"has a prompt without {TOKEN} and a noun: {concept['prompt']}"
    for key in ("initial", "prior"):
        if not isinstance(concept.get(key, ""), str):
            return f"has {key} that is no text"
    if strange := sorted(concept.keys() - {"name", "photos", "prompt", "initial", "prior", "edits"}):
        return f"has {strange[0]}, which nothing would hear"
    if not (isinstance(concept.get("edits"), list) and concept["edits"]):
        return "has no edits"
    for edit in concept["edits"]:
        for key in ("photo", "source", "target"):
            if not text(edit, key):
                return f"has an edit without {key}"
        if "{concept}" not in edit["target"]:
            return f"has a target without {{concept}}: {edit['target']}"
    return ""


def _edited(concept: Mapping[str, Any], method: str, beside: Path, plan: Plan) -> list[Row]:
    """The rows of an object and a method: a strength each, with pictures of all its edits."""
    home, caption = plan.out / concept["name"] / method, concept["prompt"]
    noun = caption.partition(TOKEN)[2].strip()
    worn, photos = home / "concept.safetensors", beside / concept["photos"]
    told = concept.get("prior", "") if method != ALONE else ""
    prior = ("--prior", str(beside / told), "--retrieve") if told else ()
    make = plan.learn(method, worn, photos, caption, *prior, start=concept.get("initial") or noun)
    phrase = TOKEN if method == ALONE else f"{TOKEN} {noun}"
    draws, said = dict[str, list[Draw]](), dict[str, dict[str, str]]()
    for i, edit in enumerate(concept["edits"]):
        photo, target = beside / edit["photo"], edit["target"].replace("{concept}", phrase)
        for row, name, place, command in _commands(
            plan, home / "made", i, photo, edit["source"], target, worn
        ):
            spot = home / row.replace(" ", "-")
            links = (
                (spot / "edited" / f"{name}.png", place),
                (spot / "sources" / f"{name}.png", photo.resolve()),
            )
            draws.setdefault(row, []).append(Draw(command, place, links))
            said.setdefault(row, {})[name] = edit["target"].replace("{concept}", noun)

    rows: list[Row] = []
    for row, some in draws.items():
        spot = home / row.replace(" ", "-")
        plan.texts[spot / "said.json"] = json.dumps(said[row], indent=1) + "\n"
        scores = plan.measure(
            spot,
            source=("source-similarity", spot / "edited", spot / "sources"),
            reference=("reference-similarity", spot / "edited", photos),
            text=("text-similarity", spot / "edited", spot / "said.json"),
        )
        rows.append(Row(concept["name"], f"{method}, {row}", (make,), tuple(some), scores))
    return rows


def _commands(
    plan: Plan, made: Path, i: int, photo: Path, source: str, target: str, worn: Path
) -> Iterator[tuple[str, str, Path, Words]]:
    """(row, picture's name, where it lies, its command) of every edit of a photo."""
    wear = ("--wear", str(worn))
    try:
        strengths = [float(part) for part in str(plan.file("edit-custom-edit")["strengths"]).split(",")]
    except (KeyError, ValueError):
        strengths = []
    if len(strengths) < 2:
        raise InputError(
            f'{plan.settings / "edit-custom-edit.toml"}: strengths = "0.2,0.4", two or more, are wanted'
        )
    told = ("--source", source, "--target", target, *plan.using("edit-custom-edit"), *wear)
    for cross in CROSS:
        sheet = made / f"{i}-p2p-{cross}.png"  # of all strengths; each lies beside it by number
        command = ("edit", "custom-edit", str(photo), *told, "--cross-until", str(cross), "-o", str(sheet))
        for j, strength in enumerate(strengths, 1):
            yield f"P2P {strength}", f"{i}-{cross}", sheet.with_name(f"{sheet.stem}-{j}.png"), command
    for strength in SDEDIT:
        for seed in SEEDS:
            place = made / f"{i}-sdedit-{strength}-{seed}.png"
            how = ("--strength", str(strength), "--seed", str(seed), *plan.using("edit-sdedit"), *wear)
            command = ("edit", "sdedit", str(photo), target, *how, "-o", str(place))
            yield f"SDEdit {strength}", f"{i}-{seed}", place, command


PROTOCOLS: Mapping[str, Callable[[Path, Plan], list[Row]]] = {
    "pairs": pairs,
    "subjects": subjects,
    "edits": edits,
}
