"""Writes docs/reproduction.md: every claim of the five papers, their figures, our command, and what came of it here.

`python bench/reproduction.py` first takes the benches' results from out/bench into docs/results (what lies there is
committed, so that the page can be written without measuring), then reads reproduction/*.toml and writes the page. A
claim is a comparison of stored results, decided by rule: it holds where the difference is more than two standard errors
on the claimed side, does not where it is as far on the other, and is undecided between. "About equal" holds where the
difference is within a margin, two standard errors and all, and does not where it is outside with as much. Nothing is
guessed: what has no stored result is "not measured yet", what has no code or no bench is "not built", and what cannot
be tested here says why. A claim of which a part alone is tested says which part is not, and is counted apart. A claim
that no paper makes (`own = true`: a measure or a control of ours) stands beside the one it belongs to, and is counted
nowhere.
"""

from __future__ import annotations

import argparse
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curves import APART
from results import READERS, UNKNOWN, Rows, Value, header, made_by, quick, stored, take

from motif.files import written

ROOT = Path(__file__).parents[1]
CLAIMS, PAGE = ROOT / "reproduction", ROOT / "docs" / "reproduction.md"

ORDER = ("custom_diffusion", "custom_edit", "ico_dci", "elite", "stylediffusion")
HOLDS, NOT, UNDECIDED = "holds", "**does not hold**", "undecided"
MISSING, UNBUILT, CANNOT = "not measured yet", "not built", "cannot be tested here"
PART, OURS = ", of a part", "**Ours, no claim of the paper:** "


KEYS = {
    "check": ({"metric"}, {"metric", "more", "less", "same", "within", "row", "above", "below", "by"}),
    "claim": (
        {"where", "says", "paper"},
        {"where", "says", "paper", "how", "results", "check", "cannot", "unbuilt", "differs", "part", "own"},
    ),
}


@dataclass(frozen=True)
class Verdict:
    """What came of a claim, and the numbers behind it."""

    word: str
    told: Sequence[str] = ()


def verdict(claim: Mapping[str, Any], results: Callable[[str], Rows | None]) -> Verdict:
    """By the stored results alone."""
    if "cannot" in claim:
        return Verdict(CANNOT, [claim["cannot"]])
    if "unbuilt" in claim:
        return Verdict(UNBUILT, [claim["unbuilt"]])
    rows = results(claim["results"])
    if rows is None:
        return Verdict(MISSING, [f"`{READERS[claim['results']].command}`"])
    found = [checked(check, rows) for check in claim["check"]]
    words = [word for word, _ in found]
    told = [text for _, text in found if text]
    told += [f"`{READERS[claim['results']].command}`"] if MISSING in words else []
    for word in (NOT, MISSING, UNDECIDED):
        if word in words:
            return Verdict(word, told)
    return Verdict(HOLDS, told)


def checked(check: Mapping[str, Any], rows: Rows) -> tuple[str, str]:
    """One comparison: a word, and its numbers."""
    metric = check["metric"]
    names = [check[key] for key in ("more", "less", "row") if key in check] or list(check["same"])
    lost = [name for name in names if metric not in rows.get(name, {}) or not rows[name][metric].known]
    if lost:
        return MISSING, f"{metric} of {lost[0]}: not measured yet"
    values, alone = [rows[name][metric] for name in names], ""
    if len(values) == 2:
        both = values[0].shared(values[1])
        if both is None:
            return MISSING, f"{metric} of one object of {names[0]} and {names[1]}: not measured yet"
        alone = of_alone(values, both)
        values = [*both]
    numbers = ", ".join(f"{name} {number(value)}" for name, value in zip(names, values, strict=True)) + alone
    if "row" in check:
        bound, sign = (check["above"], 1) if "above" in check else (check["below"], -1)
        gap, note = sign * (values[0].mean - bound), f"; {values[0].note}" if values[0].note else ""
        if values[0].note == APART:
            return UNDECIDED, f"{metric}: {names[0]}: {APART}"
        told = f"{metric}: {numbers} ({'above' if sign > 0 else 'below'} {bound:g}{note})"
        return word_of(gap, values[0].error), told
    if "by" in check:
        ratio = values[0].mean / values[1].mean
        return times(
            values, check["by"]
        ), f"{metric}: {numbers} ({ratio:.1f} times; {check['by']:g} or more is asked)"
    gap, error = values[0].less(values[1])
    told = f"{metric}: {numbers}; difference {signed(gap)}" + ("" if error is None else f" ± {error:.2g}")
    if "same" in check:
        return equal(gap, error, check["within"]), f"{told} (equal: within {check['within']:g})"
    return word_of(gap, error), told


def of_alone(values: Sequence[Value], both: Sequence[Value]) -> str:
    """Where rows are not of the same objects: of which they are compared."""
    names = {*both[0].values}
    others = {name for value in values for name in value.values} - names if names else set[str]()
    return f" (of {', '.join(sorted(names))} alone)" if others else ""


def times(values: Sequence[Value], by: float) -> str:
    """What a ratio says of "so many times": by its logarithm and both errors, where there are any; sizes have none."""
    gap = math.log(values[0].mean / values[1].mean / by)
    errors = [(value.error or 0.0) / value.mean for value in values]
    if not any(errors):
        return HOLDS if gap >= 0 else NOT
    return word_of(gap, math.hypot(*errors))


def equal(gap: float, error: float | None, within: float) -> str:
    """What a difference says of "about equal": many errors hide none."""
    if error is None or not math.isfinite(gap + error):
        return UNDECIDED
    if abs(gap) + 2 * error <= within:
        return HOLDS
    return NOT if abs(gap) - 2 * error > within else UNDECIDED


def word_of(gap: float, error: float | None) -> str:
    """What a difference says of "more than 0"; without an error, as of one picture, nothing."""
    if error is None or not abs(gap) > 2 * error:
        return UNDECIDED
    return HOLDS if gap > 0 else NOT


def number(value: Value) -> str:
    """ "0.503 ± 0.008"."""
    digits = 3 if abs(value.mean) < 10 else 1
    return f"{value.mean:.{digits}f}" + (f" ± {value.error:.{digits}f}" if value.error is not None else "")


def signed(gap: float) -> str:
    """A difference with its sign."""
    return f"{gap:+.3f}" if abs(gap) >= 5e-4 else f"{gap:+.1e}"


def papers() -> list[dict[str, Any]]:
    """The claims of every paper, checked. Raises ValueError where a file says what nothing would hear."""
    found: list[dict[str, Any]] = []
    for name in ORDER:
        paper = tomllib.loads((CLAIMS / f"{name}.toml").read_text(encoding="utf-8"))
        for claim in paper["claims"]:
            where = f"{name}.toml, {claim.get('where', claim)}"
            _keys(claim, "claim", where)
            if len({"cannot", "unbuilt", "check"} & claim.keys()) != 1 or ("check" in claim) != (
                "results" in claim
            ):
                raise ValueError(f"{where}: it has a check of results, or says why there is none")
            if "part" in claim and "check" not in claim:
                raise ValueError(f"{where}: a part is of what is tested")
            if claim.get("own", True) is not True:
                raise ValueError(f"{where}: own = true, or not at all")
            if claim.get("how", next(iter(paper["commands"]))) not in paper["commands"]:
                raise ValueError(f"{where}: no command {claim['how']}")
            for check in claim.get("check", ()):
                _keys(check, "check", where)
                forms = [{"more", "less"} <= check.keys(), "same" in check, "row" in check]
                if (
                    sum(forms) != 1
                    or claim["results"] not in READERS
                    or ("same" in check) != ("within" in check)
                ):
                    raise ValueError(f"{where}: {check} compares nothing")
        found.append(paper)
    return found


def _keys(value: Mapping[str, Any], kind: str, where: str) -> None:
    needed, known = KEYS[kind]
    if strange := (value.keys() - known) | (needed - value.keys()):
        raise ValueError(f"{where}: {min(strange)} is missing, or not known")


def came_out(claim: Mapping[str, Any], what: Verdict) -> str:
    """The verdict's word, with what it is a verdict of: of a part, where a part alone is tested."""
    return what.word + (PART if "part" in claim and what.word != MISSING else "")


def page(found: Iterable[Mapping[str, Any]], results: Callable[[str], Rows | None]) -> str:
    """The whole page."""
    parts: list[str] = []
    counts: dict[str, dict[str, int]] = {}
    for paper in found:
        lines = ["| where | the claim | the paper | here | numbers here |", "|---|---|---|---|---|"]
        tally = counts.setdefault(paper["paper"], {})
        for claim in paper["claims"]:
            what = verdict(claim, results)
            word = came_out(claim, what)
            if "own" not in claim:
                tally[word] = tally.get(word, 0) + 1
            how = f" ({claim['how']})" if "how" in claim else ""
            told = [*what.told, *([f"differs: {claim['differs']}"] if "differs" in claim else [])]
            told += [f"not tested: {claim['part']}"] if "part" in claim else []
            says = (OURS if "own" in claim else "") + claim["says"]
            cells = [claim["where"] + how, says, claim["paper"], word, ";<br>".join(told)]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        commands = "\n".join(f"# {name}\n{text.strip()}\n" for name, text in paper["commands"].items())
        parts += [f"## {paper['paper']}", f"{paper['source']}. {paper['note']}", "\n".join(lines)]
        parts += ["On Stable Diffusion 1.4, by the word in brackets:", f"```sh\n{commands.rstrip()}\n```"]
    return "\n\n".join([OPENING.strip(), summary(counts), sources(results), *parts]) + "\n"


def sources(results: Callable[[str], Rows | None]) -> str:
    """Which stored results the verdicts come from: of what day, machine and seeds they are, how much is in them, and
    whether one code made all of it. Results that are not the stored ones say neither."""
    lines = [
        "| stored results | measured | machine | seeds | rows | of | most values in a row | code |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in READERS:
        if rows := results(name):
            values = [value for metrics in rows.values() for value in metrics.values()]
            objects = sorted({name for value in values for name in value.values} - {""})
            most = max(sum(map(len, value.values.values())) for value in values)
            about = ["", "", ""]
            if results is stored:
                head = header(name)
                about = [*(head.get(key, UNKNOWN) for key in ("measured", "machine")), READERS[name].seeds]
            code = made_by(name) if results is stored else "one"
            told = [name, *about, str(len(rows)), ", ".join(objects) or "–", str(most or "–"), code]
            lines.append(f"| {' | '.join(told)} |")
    missing = [name for name in READERS if not results(name)]
    told = [f"- {', '.join(names)}: `{command}`" for command, names in by_command(missing).items()]
    return "\n".join([*lines, *(["", "Not there yet, and what makes them:", "", *told] if told else [])])


def by_command(names: Iterable[str]) -> dict[str, list[str]]:
    """Stored results by the command that makes them."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(READERS[name].command, []).append(name)
    return found


def summary(counts: Mapping[str, Mapping[str, int]]) -> str:
    """How many of each paper's claims came out how; those of which a part alone is tested in columns of their own."""
    there = {word for tally in counts.values() for word in tally}
    every = [w for word in (HOLDS, NOT, UNDECIDED, MISSING, UNBUILT, CANNOT) for w in (word, word + PART)]
    words = [w for w in every if not w.endswith(PART) or w == HOLDS + PART or w in there]
    heads = (word.replace("*", "") for word in words)
    lines = [f"| paper | {' | '.join(heads)} |", "|---" * (len(words) + 1) + "|"]
    lines += [
        f"| {name} | {' | '.join(str(tally.get(w, 0)) for w in words)} |" for name, tally in counts.items()
    ]
    return "\n".join(lines)


OPENING = """
# Reproduction

Written by `make reproduction` from the claims in `reproduction/` and the stored results in `docs/results/`: every
claim of the five papers that has a figure or a table, its numbers, our command for it on Stable Diffusion 1.4
(settings in `reproduction/sd14/`), and what came of it on pocket, the embedded base. **Holds**: the difference is
more than two standard errors on the claimed side. **Does not hold**: as far on the other side. **Undecided**:
between. A claim of several comparisons holds where all do. **About equal** holds within the margin given, errors
and all. **Of a part**: the numbers say what of the claim is not tested; the table counts these apart from whole
claims. **Not built**: it could be tested, and no code or bench here does. **Ours**: a measure or a control that no
paper claims; it stands beside the claim that it belongs to, and is counted nowhere. Differences are of the same
prompts and seeds, picture by picture, where both sides' pictures are stored; errors are over pictures of the objects
named, and say nothing of others. Of stored results: the newest day on which any of it was measured, the machines
that made it (unknown: nothing says it), and the seeds that pictures were drawn with and concepts learned with; code:
whether all rows were made by the same versions of the methods and of the bench (unknown: measured before cells said
it). pocket is a model of 64 px in a world of its own: what holds there is evidence for the method's code and its
idea, not for its numbers on photos. Results are of the weights of pocket that were shipped on their day.
"""


def main() -> None:
    """Take the results, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stored", action="store_true", help="write from docs/results alone")
    parser.add_argument(
        "--quick", type=Path, metavar="DIR", help="of this trade-off's table alone, beside it"
    )
    asked = parser.parse_args()
    if asked.quick:
        target = asked.quick / "reproduction.md"
        target.write_text(page(papers(), quick(asked.quick / "table.json")), encoding="utf-8")
        print(target)
        return
    taken = [] if asked.stored else take()
    text = page(papers(), stored)
    with written(PAGE) as part:
        part.write_text(text, encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: taken {', '.join(taken) or 'nothing new'}")


if __name__ == "__main__":
    main()
