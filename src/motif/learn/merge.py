"""Merging: several concepts in one, by a least-squares problem with constraints that has a closed form.

Kumari et al. 2023 (arXiv 2212.04488), section 3.2, eq. 4 and 5; card 2. Of each key and value matrix of cross-attention

    W = argmin ‖(W − W₀) Rᵀ‖   subject to   W Cᵀ = V
      = W₀ + E (C G⁻¹ Cᵀ)⁻¹ C G⁻¹      G = RᵀR,  E = V − W₀Cᵀ

where the rows of C are the states of the concepts' words, those of R of captions that may not change, and the columns
of V what each concept's own W_n makes of its words. Ours: E = (W_n − W₀) cᵀ, so that W₀ is not needed; G is factored
once for all matrices; what is stored is of low rank, one component for each word at most.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import count as counting
from pathlib import Path

import torch
from torch import Tensor

from motif.base import Base
from motif.concept import Concept, Record
from motif.errors import InputError
from motif.learn.held import general_captions, held_captions, priors_of
from motif.learn.least_squares import solve
from motif.learn.merge_report import Report, residuals, times
from motif.learn.target_words import Words, caption_rows, phrases_of, word_rows
from motif.versions import versions
from motif.weights import is_cross_kv, not_finite

log = logging.getLogger("motif")

KEPT = 1e-4
"""Words whose keys and values are off by more than this share are told of."""


def merge(
    base: Base,
    *concepts: Concept,
    captions: str | Path | Sequence[str] = "",
    count: int = 200,
    other_base: bool = False,
    on_report: Callable[[Report], None] | None = None,
) -> Concept:
    """Make one concept of several, so that all of their words can stand in one prompt.

    Keys and values of cross-attention merge; a concept that is a word alone goes in as it is. Tokens that two concepts
    use are renamed, and the log says so.

    Args:
        captions: What must not change: a .txt file, one caption per line (in Python, a list too). The default is the
            captions of the concepts' own priors, and general ones.
        count: How many captions, at most (the released code: the first 200).
        other_base: Merge concepts of another base with the same architecture (a fine-tuned relative).
        on_report: Told how well words and captions are held.
    Raises:
        InputError: a concept that cannot be merged, two that give the same words another meaning, or no captions.
            WrongBase: a concept of another base.
    """
    for concept in concepts:
        _require(base, concept, other_base=other_base)
    _require_bare(base, concepts)
    named, renamed = _apart(base, concepts)
    lines = held_captions(base, named, captions, count)
    vectors = {token: parts for concept in named for token, parts in concept.tokens.items()}
    words, held = word_rows(base, named, vectors), caption_rows(base, lines, general_captions(base))
    names, rows = (
        dict.fromkeys(n for one in named for n in one.changes),
        torch.cat([word.rows for word in words]),
    )
    wanted = {name: _errors(named, words, name) for name in names}
    kept, errors = _distinct(words, wanted)
    update = solve(rows[kept], held)
    changes = {name: update.change(errors[name]) for name in names}
    report = Report(
        tuple(dict.fromkeys(word.phrase for word in words)),
        renamed,
        len(kept),
        len(lines),
        len(held),
        update.ridge,
        tuple(residuals(base, named, changes, rows, wanted, update)),
    )
    _tell(report)
    if on_report:
        on_report(report)
    return Concept(vectors, changes, _record(base, named, lines, report))


# -- what can be merged ----------------------------------------------------------------------------------------------


def _require(base: Base, concept: Concept, *, other_base: bool) -> None:
    """InputError where a concept is none of this base, or changes what does not merge."""
    who = _who(concept)
    if broken := not_finite(
        {f"{t}/{i}": v for t, parts in concept.tokens.items() for i, v in enumerate(parts)}
    ):
        raise InputError(f"{who} is damaged: its vector {broken} is not finite")
    concept.record.base.require(base.origin, who=who, other_base=other_base)
    base.models.check_fit(concept.changes, concept.tokens, who=who, base=base.name)
    if concept.local:
        raise InputError(f"{who} holds a photo's patches, which do not merge: encode it without (--no-local)")
    strange = [name for name in concept.changes if not is_cross_kv(name)]
    if text := [name for name in strange if name.startswith("text_encoder")]:
        raise InputError(
            f"{who} changes the text encoder ({text[0]}), so that its words are read by another one: only keys and "
            "values of cross-attention merge; learn it with the text encoder frozen"
        )
    if strange:
        raise InputError(
            f"{who} changes {strange[0]} (and {len(strange) - 1} more): only keys and values of cross-attention merge; "
            "learn it anew with those alone (--trained crossattn_kv), or wear the concepts together"
        )


def _require_bare(base: Base, concepts: Sequence[Concept]) -> None:
    if not concepts:
        raise InputError("nothing to merge: name the concepts")
    if base.weights or base.vectors:
        raise InputError("the base wears a concept: merge on the bare base, and give the concept to merge")
    width = int(sum(reader.width for reader in base.models.readers))
    for concept in concepts:
        for name, change in concept.changes.items():
            if change.shape[1] != width:
                raise InputError(
                    f"{name} reads {change.shape[1]} channels and the text encoders make {width}: it reads something "
                    "else than the words"
                )


def _apart(base: Base, concepts: Sequence[Concept]) -> tuple[list[Concept], tuple[tuple[str, str], ...]]:
    """The concepts with a token of its own for each: of two, the later one is renamed to the first free <newN>."""
    used = {token for concept in concepts for token in concept.tokens}
    vocabulary = base.models.readers[0].tokenizer.get_vocab()
    free = (t for n in counting(1) if (t := f"<new{n}>") not in used and t not in vocabulary)
    taken, found, renamed = set[str](), list[Concept](), list[tuple[str, str]]()
    for concept in concepts:
        names = {token: next(free) for token in concept.tokens if token in taken}
        for old, new in names.items():
            log.warning("%s is taken: %s is %s from now on", old, _phrase(concept, old), new)
        found.append(concept.renamed(names))
        taken |= found[-1].tokens.keys()
        renamed += [(_phrase(concept, old), new) for old, new in names.items()]
    return found, tuple(renamed)


def _who(concept: Concept) -> str:
    """What messages call a concept: "<new1> dog"."""
    return ", ".join(phrases_of(concept)) or concept.record.method


def _phrase(concept: Concept, token: str) -> str:
    return f"{token} {concept.record.nouns.get(token, '')}".strip()


# -- the equations ---------------------------------------------------------------------------------------------------


def _errors(concepts: Sequence[Concept], words: Sequence[Words], name: str) -> Tensor:
    """E of one weight, [out, row]: what each concept's change adds to its own words; 0 where it has none."""
    out = next(c.changes[name].shape[0] for c in concepts if name in c.changes)
    parts: list[Tensor] = []
    for i, concept in enumerate(concepts):
        columns = torch.cat([word.rows for word in words if word.concept == i]).T
        change = concept.changes.get(name)
        parts.append(columns.new_zeros(out, columns.shape[1]) if change is None else times(change, columns))
    errors = torch.cat(parts, 1)
    if not torch.isfinite(errors).all():
        raise InputError(
            f"what the concepts make of their words with {name} is not finite: one of them is damaged"
        )
    return errors


def _distinct(words: Sequence[Words], errors: Mapping[str, Tensor]) -> tuple[list[int], dict[str, Tensor]]:
    """The rows that differ from every row before them, and E of those: the mean over the rows that equal each.

    What two concepts make of words that only begin alike (one rare token that neither learned; "tea pot" and "tea cup")
    no matrix holds both of: the mean is nearest to the two, and the log says so. InputError where they are alike to
    their end.
    """
    rows = torch.cat([word.rows for word in words])
    owner = [
        (word, len(word.rows) - k) for word in words for k in range(len(word.rows))
    ]  # (whose, rows to its end)
    near = torch.cdist(rows, rows) <= 1e-5 * rows.norm(dim=1, keepdim=True)
    first = [int(row.nonzero()[0]) for row in near]
    alike = dict[tuple[str, str], None]()
    for j, i in enumerate(first):
        (one, _), (other, left) = owner[i], owner[j]
        apart = sum(float((e[:, i] - e[:, j]).square().sum()) for e in errors.values())
        whole = sum(float(e[:, [i, j]].square().sum()) for e in errors.values())
        if one.concept == other.concept or apart <= 1e-6 * whole:
            continue
        if left <= 2:  # the last word, and the end of the text
            raise InputError(
                f'"{one.phrase}" and "{other.phrase}" are the same words to the text encoder, and their concepts make '
                "different things of them: learn one with another token vector or another noun"
            )
        alike[one.phrase, other.phrase] = None
    for pair in alike:
        log.warning(
            '"%s" and "%s" begin with one word to the text encoder: it gets the mean of what their concepts make of it',
            *pair,
        )
    kept = [j for j, i in enumerate(first) if i == j]
    share = torch.tensor([[float(i == k) for k in kept] for i in first], dtype=rows.dtype)  # [row, kept]
    share /= share.sum(0)
    return kept, {name: e @ share for name, e in errors.items()}


# -- what is left behind ---------------------------------------------------------------------------------------------


def _tell(report: Report) -> None:
    worst = max((row.words for row in report.residuals), default=0.0)
    log.info(
        "%d rows of words, %d rows of %d captions, %d weights; the words are held within %.0e, the captions' keys and "
        "values move by %.2g %% (by %.2g %% where the changes are added)",
        report.rows, report.caption_rows, report.captions, len(report.residuals), worst,
        100 * report.mean("captions"), 100 * report.mean("added"),
    )  # fmt: skip
    if report.mean("captions") > report.mean("added"):
        log.warning(
            "the captions move more than where the changes are added, for the words are nearly the same to the text "
            "encoder: wear the concepts together instead, or learn them longer"
        )
    if worst > KEPT:
        log.warning(
            "the words of these concepts cannot all be held (off by %.2g %%): they are too alike, or too many for the "
            "text encoder's width: merge fewer",
            100 * worst,
        )


def _record(base: Base, concepts: Sequence[Concept], lines: Sequence[str], report: Report) -> Record:
    """How it was made; its prompts are those of its parts."""
    nouns = {token: noun for concept in concepts for token, noun in concept.record.nouns.items()}
    parts = [{"words": _who(c), "method": c.record.method, "fingerprint": c.fingerprint} for c in concepts]
    priors = [prior for concept in concepts for prior in priors_of(concept)]
    settings = {
        "concepts": parts,
        "captions": len(lines),
        "priors": priors,
        "ridge": report.ridge,
        "words_residual": report.mean("words"),
        "captions_residual": report.mean("captions"),
    }
    prompts = dict.fromkeys(prompt for concept in concepts for prompt in concept.record.prompts)
    return Record("merge", base.origin, nouns, tuple(prompts), settings, versions())
