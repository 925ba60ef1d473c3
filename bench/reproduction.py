"""Writes docs/reproduction.md: every claim of the five papers, their figures, our command, and what came of it here.

`python bench/reproduction.py` first takes the benches' results from out/bench into docs/results (what lies there is
committed, so that the page can be written without measuring), then reads reproduction/*.toml and writes the page. A
claim is a comparison of stored results, decided by rule: it holds where the difference is more than two standard errors
on the claimed side, does not where it is as far on the other, and is undecided between. Nothing is guessed: what has no
stored result is "not measured yet", and what cannot be tested here says why.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CLAIMS, RESULTS, MADE, PAGE = (
    ROOT / p for p in ("reproduction", "docs/results", "out/bench", "docs/reproduction.md")
)

ORDER = ("custom_diffusion", "custom_edit", "ico_dci", "elite", "stylediffusion")
HOLDS, NOT, UNDECIDED = "holds", "**does not hold**", "undecided"
MISSING, CANNOT = "not measured yet", "cannot be tested here"


@dataclass(frozen=True)
class Value:
    """A metric of a row: its mean and error, and its values by object where they are known."""

    mean: float
    error: float | None = None
    values: Mapping[str, Sequence[float | None]] = field(default_factory=dict)

    @staticmethod
    def of(values: Mapping[str, Sequence[float | None]]) -> Value:
        """From the values themselves."""
        every = [value for some in values.values() for value in some if value is not None]
        error = statistics.stdev(every) / math.sqrt(len(every)) if len(every) > 1 else None
        return Value(math.fsum(every) / len(every), error, values)

    def times(self, factor: float) -> Value:
        """The same in another unit."""
        values = {n: [None if v is None else factor * v for v in some] for n, some in self.values.items()}
        return Value(factor * self.mean, None if self.error is None else abs(factor) * self.error, values)

    def plus(self, other: Value) -> Value:
        """The sum, picture by picture where both know them."""
        if self.values and self.values.keys() == other.values.keys():
            pairs = {n: zip(self.values[n], other.values[n], strict=True) for n in self.values}
            return Value.of(
                {n: [None if None in (a, b) else a + b for a, b in some] for n, some in pairs.items()}
            )
        return Value(self.mean + other.mean, math.hypot(self.error or 0.0, other.error or 0.0))

    def less(self, other: Value) -> tuple[float, float]:
        """This minus another: paired where both are of the same pictures, else with both errors."""
        pairs = [
            (a, b)
            for name in self.values.keys() & other.values.keys()
            if len(self.values[name]) == len(other.values[name])
            for a, b in zip(self.values[name], other.values[name], strict=True)
            if a is not None and b is not None
        ]
        if len(pairs) > 1:
            gaps = [a - b for a, b in pairs]
            return math.fsum(gaps) / len(gaps), statistics.stdev(gaps) / math.sqrt(len(gaps))
        return self.mean - other.mean, math.hypot(self.error or 0.0, other.error or 0.0)


Rows = Mapping[str, Mapping[str, Value]]
"""{row: {metric: value}} of one bench."""

KEYS = {
    "check": ({"metric"}, {"metric", "more", "less", "same", "row", "above", "below", "by"}),
    "claim": (
        {"where", "says", "paper"},
        {"where", "says", "paper", "how", "results", "check", "cannot", "differs"},
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
    rows = results(claim["results"])
    if rows is None:
        return Verdict(MISSING)
    found = [checked(check, rows) for check in claim["check"]]
    words = [word for word, _ in found]
    told = [text for _, text in found if text]
    for word in (NOT, MISSING, UNDECIDED):
        if word in words:
            return Verdict(word, told)
    return Verdict(HOLDS, told)


def checked(check: Mapping[str, Any], rows: Rows) -> tuple[str, str]:
    """One comparison: a word, and its numbers."""
    metric = check["metric"]
    names = [check[key] for key in ("more", "less", "row") if key in check] or list(check["same"])
    lost = [name for name in names if metric not in rows.get(name, {})]
    if lost:
        return MISSING, f"{metric} of {lost[0]}: not measured yet"
    values = [rows[name][metric] for name in names]
    numbers = ", ".join(f"{name} {number(value)}" for name, value in zip(names, values, strict=True))
    if "row" in check:
        bound, sign = (check["above"], 1) if "above" in check else (check["below"], -1)
        gap, error = sign * (values[0].mean - bound), values[0].error or 0.0
        return word_of(gap, error), f"{metric}: {numbers} ({'above' if sign > 0 else 'below'} {bound:g})"
    if "by" in check:
        ratio = values[0].mean / values[1].mean
        return (HOLDS if ratio >= check["by"] else NOT), f"{metric}: {numbers} ({ratio:.1f} times)"
    gap, error = values[0].less(values[1])
    word = word_of(gap, error)
    if "same" in check:
        word = HOLDS if word == UNDECIDED else NOT
    return word, f"{metric}: {numbers}; difference {signed(gap)} ± {error:.2g}"


def word_of(gap: float, error: float) -> str:
    """What a difference says of "more than 0"."""
    if abs(gap) <= 2 * error or gap == 0:
        return UNDECIDED
    return HOLDS if gap > 0 else NOT


def number(value: Value) -> str:
    """ "0.503 ± 0.008"."""
    digits = 3 if abs(value.mean) < 10 else 1
    return f"{value.mean:.{digits}f}" + (f" ± {value.error:.{digits}f}" if value.error is not None else "")


def signed(gap: float) -> str:
    """A difference with its sign."""
    return f"{gap:+.3f}" if abs(gap) >= 5e-4 else f"{gap:+.1e}"


# -- stored results ----------------------------------------------------------------------------------------------


def stored(name: str) -> Rows | None:
    """What docs/results holds of a bench."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    return {
        row: {metric: Value(v["mean"], v.get("error"), v.get("values", {})) for metric, v in metrics.items()}
        for row, metrics in told["rows"].items()
    }


def take() -> list[str]:
    """Put what the benches left under out/bench into docs/results; the names of what was taken."""
    taken: list[str] = []
    for name, (reader, source) in READERS.items():
        if (MADE / source).exists() and (rows := reader(MADE / source)):
            plain = {
                row: {metric: plainly(v) for metric, v in metrics.items()} for row, metrics in rows.items()
            }
            RESULTS.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"from": f"out/bench/{source}", "rows": plain}, indent=1, ensure_ascii=False)
            (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
            taken.append(name)
    return taken


def plainly(value: Value) -> dict[str, Any]:
    """To five digits: it is a record, not a computation."""
    found: dict[str, Any] = {"mean": short(value.mean), "error": short(value.error)}
    if value.values:
        found["values"] = {name: [short(v) for v in values] for name, values in value.values.items()}
    return found


def short(value: float | None) -> float | None:
    """Five digits of it."""
    return None if value is None else float(f"{value:.5g}")


def methods(folder: Path) -> dict[str, dict[str, Value]]:
    """`bench/methods.py`: a file for each row and object, the newest where there are several."""
    sys.path.insert(0, str(Path(__file__).parent))
    from methods_report import BASE, pictures

    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("results/*.result"), key=lambda path: path.stat().st_mtime):
        spec = json.loads(path.with_suffix(".json").read_text())
        if not spec["quick"]:
            found.setdefault(spec["row"], {})["+".join(spec["subjects"])] = json.loads(path.read_text())
    rows: dict[str, dict[str, Value]] = {}
    for row, objects in found.items():
        names = [name for name in sorted(objects) if name in found.get(BASE, {})]
        if not names:
            continue
        metrics = [m for m in ("CLIP-I", "DINO-I", "CLIP-T", "drift") if all(m in objects[n] for n in names)]
        metrics += ["trade-off"] if {"CLIP-I", "CLIP-T"} <= {*metrics} else []
        rows[row] = {
            m: Value.of({n: [float(v) for v in pictures(found, row, m, n)] for n in names}) for m in metrics
        }
        costs = {n: objects[n]["cost"] for n in names if objects[n].get("cost")}
        for key, name, scale in (
            ("seconds", "seconds", 1.0),
            ("bytes", "megabytes", 1e-6),
            ("moved", "moved", 1.0),
        ):
            if costs and all(key in cost for cost in costs.values()):
                rows[row][name] = Value.of({n: [scale * float(cost[key])] for n, cost in costs.items()})
    return rows


def scores(file: Path) -> dict[str, dict[str, Value]]:
    """`bench/editing.py` and others: {row: {metric: a score}}."""
    told = json.loads(file.read_text())
    return {
        row: {m: Value(s["mean"], s["standard_error"], {"": s["per_image"]}) for m, s in metrics.items()}
        for row, metrics in told.items()
    }


def cells(folder: Path) -> dict[str, dict[str, Value]]:
    """`bench/elite.py` and others: a file for each object and row; those objects that have every row."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        subject, _, row = path.stem.partition(" - ")
        told = json.loads(path.read_text())
        found.setdefault(row, {})[subject] = {m: v if isinstance(v, list) else [v] for m, v in told.items()}
    names = sorted(set[str].intersection(*(set(objects) for objects in found.values()))) if found else []
    return {
        row: {m: Value.of({n: objects[n][m] for n in names}) for m in objects[names[0]]}
        for row, objects in found.items()
        if names
    }


def dci(folder: Path) -> dict[str, dict[str, Value]]:
    """`bench/dci.py`: cells, and what its figure tells of them."""
    return dci_rows(cells(folder))


def dci_rows(rows: Mapping[str, Mapping[str, Value]]) -> dict[str, dict[str, Value]]:
    """The same with how far a point lies above the checkpoints' curves, and both alignments as shares of the base's."""
    told = {row: dict(metrics) for row, metrics in rows.items()}
    point = {row: (m["CLIP-T"].mean, m["CLIP-I"].mean) for row, m in rows.items()}
    base = next((m for row, m in rows.items() if row.startswith("base")), None)
    for row, metrics in rows.items():
        for told_as, name in (("ICO's", "ico"), ("Custom Diffusion's", "custom-diffusion")):
            curve = [at for other, at in point.items() if other.startswith((f"{name} ", "base"))]
            if row.startswith(("dci", "without")) and any(other.startswith(f"{name} ") for other in point):
                told[row][f"above {told_as} checkpoints"] = Value(
                    above(point[row], curve), metrics["CLIP-I"].error
                )
        if base:
            text, image = (metrics[m].times(1 / base[m].mean) for m in ("CLIP-T", "CLIP-I"))
            told[row]["trade-off"] = text.plus(image)
    return told


def above(point: tuple[float, float], curve: Sequence[tuple[float, float]]) -> float:
    """How much more image alignment a (text, image) point has than a curve's front at its text alignment; beyond the
    front's ends it is compared with the end."""
    import numpy as np

    from motif.tradeoff.front import front

    best = [curve[i] for i in front(curve)]
    return point[1] - float(np.interp(point[0], [x for x, _ in best], [y for _, y in best]))


def plain_rows(file: Path) -> dict[str, dict[str, Value]]:
    """{"rows": {row: {metric: {"mean", "error", "values"}}}}: the form of docs/results, for benches to come."""
    rows = json.loads(file.read_text())["rows"]
    return {
        r: {m: Value(v["mean"], v.get("error"), v.get("values", {})) for m, v in ms.items()}
        for r, ms in rows.items()
    }


READERS: Mapping[str, tuple[Callable[[Path], Rows], str]] = {
    "methods": (methods, "methods"),
    "editing": (scores, "editing/editing.json"),
    "dci": (dci, "dci/cells"),
    "custom-edit": (plain_rows, "custom-edit/results.json"),
    "elite": (cells, "elite/cells"),
    "value-embedding": (plain_rows, "value-embedding/results.json"),
    "ico-schemes": (plain_rows, "ico-schemes/results.json"),
    "compress": (plain_rows, "compress/results.json"),
    "weights": (plain_rows, "weights/results.json"),
    "merge": (plain_rows, "merge/results.json"),
    "pairs": (plain_rows, "pairs/results.json"),
}
"""{name under docs/results: how its bench's results are read, and where they lie under out/bench}."""


NAMES = {"clip-i": "CLIP-I", "clip-t": "CLIP-T", "dino-i": "DINO-I"}


def quick(file: Path) -> Callable[[str], Rows | None]:
    """What `make quick` measured (a trade-off's table), as the benches' results: the last point of each method stands
    for it in "methods"; ICO's points and DCI's are those of "dci"."""
    singles: dict[str, dict[str, Value]] = {}
    points: dict[str, dict[str, Value]] = {}
    for point in json.loads(file.read_text(encoding="utf-8"))["points"]:
        found = {NAMES[m]: Value(s["mean"], s["error"]) for m, s in point["scores"].items()}
        along = point["settings"].get(point["along"])
        if point["method"] != "ico + dci":
            singles[point["method"]] = found
        row = {"the base": "base", "ico": f"ico {along}", "ico + dci": f"dci {along or 0:g}, until 0.3"}
        if found and point["method"] in row:
            points[row[point["method"]]] = found
    both = {"methods": singles, "dci": dci_rows(points)}
    return both.get


# -- the page ----------------------------------------------------------------------------------------------------


def papers() -> list[dict[str, Any]]:
    """The claims of every paper, checked. Raises ValueError where a file says what nothing would hear."""
    found: list[dict[str, Any]] = []
    for name in ORDER:
        paper = tomllib.loads((CLAIMS / f"{name}.toml").read_text(encoding="utf-8"))
        for claim in paper["claims"]:
            where = f"{name}.toml, {claim.get('where', claim)}"
            _keys(claim, "claim", where)
            if ("cannot" in claim) == ("check" in claim) or ("check" in claim) != ("results" in claim):
                raise ValueError(f"{where}: it has a check of results, or says why there can be none")
            if claim.get("how", next(iter(paper["commands"]))) not in paper["commands"]:
                raise ValueError(f"{where}: no command {claim['how']}")
            for check in claim.get("check", ()):
                _keys(check, "check", where)
                forms = [{"more", "less"} <= check.keys(), "same" in check, "row" in check]
                if sum(forms) != 1 or claim["results"] not in READERS:
                    raise ValueError(f"{where}: {check} compares nothing")
        found.append(paper)
    return found


def _keys(value: Mapping[str, Any], kind: str, where: str) -> None:
    needed, known = KEYS[kind]
    if strange := (value.keys() - known) | (needed - value.keys()):
        raise ValueError(f"{where}: {min(strange)} is missing, or not known")


def page(found: Iterable[Mapping[str, Any]], results: Callable[[str], Rows | None]) -> str:
    """The whole page."""
    parts: list[str] = []
    counts: dict[str, dict[str, int]] = {}
    for paper in found:
        lines = ["| where | the claim | the paper | here | numbers here |", "|---|---|---|---|---|"]
        tally = counts.setdefault(paper["paper"], {})
        for claim in paper["claims"]:
            what = verdict(claim, results)
            tally[what.word] = tally.get(what.word, 0) + 1
            how = f" ({claim['how']})" if "how" in claim else ""
            told = [*what.told, *([f"differs: {claim['differs']}"] if "differs" in claim else [])]
            cells = [claim["where"] + how, claim["says"], claim["paper"], what.word, ";<br>".join(told)]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        commands = "\n".join(f"# {name}\n{text.strip()}\n" for name, text in paper["commands"].items())
        parts += [f"## {paper['paper']}", f"{paper['source']}. {paper['note']}", "\n".join(lines)]
        parts += ["On Stable Diffusion 1.4, by the word in brackets:", f"```sh\n{commands.rstrip()}\n```"]
    return "\n\n".join([OPENING.strip(), summary(counts), sources(results), *parts]) + "\n"


def sources(results: Callable[[str], Rows | None]) -> str:
    """Which stored results the verdicts come from, and how much is in them."""
    lines = ["| stored results | rows | of | most values in a row |", "|---|---|---|---|"]
    for name in READERS:
        if rows := results(name):
            values = [value for metrics in rows.values() for value in metrics.values()]
            objects = sorted({name for value in values for name in value.values} - {""})
            most = max(sum(map(len, value.values.values())) for value in values)
            lines.append(f"| {name} | {len(rows)} | {', '.join(objects) or '–'} | {most or '–'} |")
    missing = [name for name in READERS if not results(name)]
    return "\n".join(lines) + (f"\n\nNot there yet: {', '.join(missing)}." if missing else "")


def summary(counts: Mapping[str, Mapping[str, int]]) -> str:
    """How many of each paper's claims came out how."""
    words = (HOLDS, NOT, UNDECIDED, MISSING, CANNOT)
    lines = [f"| paper | {' | '.join(w.strip('*') for w in words)} |", "|---" * (len(words) + 1) + "|"]
    lines += [
        f"| {name} | {' | '.join(str(tally.get(w, 0)) for w in words)} |" for name, tally in counts.items()
    ]
    return "\n".join(lines)


OPENING = """
# Reproduction

Written by `make reproduction` from the claims in `reproduction/` and the stored results in `docs/results/`: every claim
of the five papers that has a figure or a table, its numbers, our command for it on Stable Diffusion 1.4 (settings in
`reproduction/sd14/`), and what came of it on pocket, the embedded base. **Holds**: the difference is more than two
standard errors on the claimed side. **Does not hold**: as far on the other side. **Undecided**: between. A claim of
several comparisons holds where all do. Differences are of the same prompts and seeds, picture by picture, where both
sides' pictures are stored. pocket is a model of 64 px in a world of its own: what holds there is evidence for the
method's code and its idea, not for its numbers on photos.
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
    PAGE.write_text(text, encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: taken {', '.join(taken) or 'nothing new'}")


if __name__ == "__main__":
    main()
