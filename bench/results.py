"""The benches' results in one form, {row: {metric: a value}}: read where a bench left them, kept in docs/results.

What lies in docs/results is committed, so that the page (`reproduction.py`) can be written without measuring. A stored
result says of what day it is and what machine made it; both are written with its rows, and stay while those do.
"""

from __future__ import annotations

import json
import math
import os
import re
import statistics
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from motif.files import written

ROOT = Path(__file__).parents[1]
RESULTS, MADE = ROOT / "docs" / "results", ROOT / "out" / "bench"


@dataclass(frozen=True)
class Value:
    """A metric of a row: its mean and error, and its values by object where they are known. The values are what the
    error is over: one of each thing that was drawn by chance, never several of one picture. Without an error nothing
    is decided; the note may say why. A mean that is no number: nothing of it was measured."""

    mean: float
    error: float | None = None
    values: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    note: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a value at all."""
        return math.isfinite(self.mean)

    @staticmethod
    def of(values: Mapping[str, Sequence[float | None]]) -> Value:
        """From the values themselves."""
        every = [value for some in values.values() for value in some if value is not None]
        if not every:
            return Value(math.nan, None, values, "no value")
        error = statistics.stdev(every) / math.sqrt(len(every)) if len(every) > 1 else None
        return Value(math.fsum(every) / len(every), error, values)

    def times(self, factor: float) -> Value:
        """The same in another unit."""
        values = {n: [None if v is None else factor * v for v in some] for n, some in self.values.items()}
        error = None if self.error is None else abs(factor) * self.error
        return Value(factor * self.mean, error, values, self.note)

    def plus(self, other: Value) -> Value:
        """The sum, picture by picture where both know them."""
        if self.values and self.values.keys() == other.values.keys():
            pairs = {n: zip(self.values[n], other.values[n], strict=True) for n in self.values}
            return Value.of(
                {n: [None if None in (a, b) else a + b for a, b in some] for n, some in pairs.items()}
            )
        return Value(self.mean + other.mean, math.hypot(self.error or 0.0, other.error or 0.0))

    def shared(self, other: Value) -> tuple[Value, Value] | None:
        """Both over what both have: the pictures of the same objects that both have a value of, or, where no object has
        as many of each, those objects. None where there is nothing of the kind; as they are where only their means are
        known."""
        if not (self.values and other.values):
            return self, other
        names = [name for name in self.values if name in other.values]
        paired = [name for name in names if len(self.values[name]) == len(other.values[name])]
        if paired:
            rows = {name: [*zip(self.values[name], other.values[name], strict=True)] for name in paired}
            rows = {name: [row for row in some if None not in row] for name, some in rows.items()}
            rows = {name: some for name, some in rows.items() if some}
            mine, theirs = ({n: [row[i] for row in some] for n, some in rows.items()} for i in (0, 1))
        else:
            mine, theirs = ({name: [*value.values[name]] for name in names} for value in (self, other))
        one, two = self._over(mine), other._over(theirs)
        return (one, two) if one.known and two.known else None

    def _over(self, values: Mapping[str, Sequence[float | None]]) -> Value:
        """The same over some of its values; itself over all of them."""
        whole = {name: [*some] for name, some in self.values.items()}
        return self if values == whole else Value.of(values)

    def less(self, other: Value) -> tuple[float, float | None]:
        """This minus another, over what both have: paired where both are of the same pictures, else with both errors;
        of one picture there is none, and of nothing in common no number."""
        both = self.shared(other)
        if both is None:
            return math.nan, None
        one, two = both
        names = one.values.keys() & two.values.keys()
        if names and all(len(one.values[name]) == len(two.values[name]) for name in names):
            pairs = [(a, b) for n in names for a, b in zip(one.values[n], two.values[n], strict=True)]
            gaps = [a - b for a, b in pairs if a is not None and b is not None]
            if len(gaps) > 1:
                return math.fsum(gaps) / len(gaps), statistics.stdev(gaps) / math.sqrt(len(gaps))
        if one.error is None or two.error is None:
            return one.mean - two.mean, None
        return one.mean - two.mean, math.hypot(one.error, two.error)


Rows = Mapping[str, Mapping[str, Value]]
"""{row: {metric: value}} of one bench."""


def stored(name: str) -> Rows | None:
    """What docs/results holds of a bench."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    return {
        row: {metric: told_of(v) for metric, v in metrics.items()} for row, metrics in told["rows"].items()
    }


def take() -> list[str]:
    """Put what the benches left into docs/results, where it is another than what is there; the names of what was
    taken. What has less than is there, as of a bench that still works, is not taken, and a line says so."""
    taken: list[str] = []
    for name, source in READERS.items():
        place = (RESULTS if source.kept else MADE) / source.place
        rows = source.read(place) if place.exists() else {}
        plain = {row: {m: plainly(v) for m, v in metrics.items() if v.known} for row, metrics in rows.items()}
        plain = {row: metrics for row, metrics in plain.items() if metrics}
        path = RESULTS / f"{name}.json"
        there = header(name).get("rows", {})
        if plain and (less := lacking(plain, there)):
            print(f"{name}: kept as it is stored: {place} has {less}; remove {path} to take it")
        elif plain and list(plain.items()) != list(there.items()):
            RESULTS.mkdir(parents=True, exist_ok=True)
            about = {
                "from": place.relative_to(ROOT).as_posix() if place.is_relative_to(ROOT) else place.name,
                **made(source.cells(place), header(name)),
                "code": source.codes(place),
            }
            text = json.dumps({**about, "rows": plain}, indent=1, ensure_ascii=False)
            with written(path) as part:
                part.write_text(text + "\n", encoding="utf-8")
            taken.append(name)
    return taken


Plain = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Rows as docs/results has them."""


def lacking(found: Plain, there: Plain) -> str:
    """In words, the first row, metric, object or picture of what is there that another result lacks; "" where it lacks
    none."""
    for row, metrics in there.items():
        if row not in found:
            return f"{len(found)} rows instead of {len(there)}, no {row}"
        for metric, told in metrics.items():
            if metric not in found[row]:
                return f"no {metric} of {row}"
            values = found[row][metric].get("values", {})
            for name, some in told.get("values", {}).items():
                if name not in values:
                    return f"no {metric} of {row} of {name}"
                had, has = (sum(value is not None for value in each) for each in (some, values[name]))
                if has < had:
                    of = f" of {name}" if name else ""
                    return f"{has} of {had} values for {metric} of {row}{of}"
            if told.get("error") is not None and found[row][metric].get("error") is None:
                return f"no error of {metric} of {row}"
    return ""


Codes = dict[str, dict[str, list[str]]]
"""{place of code: {its digest: the cells that it made}}; "" stands for cells that do not say."""


def codes_of(cells: Mapping[str, Mapping[str, Any]]) -> Codes:
    """What code made which cells, by what they say of themselves (`cells.codes`)."""
    found: Codes = {}
    for name, told in sorted(cells.items()):
        for place, digest in (told.get("code") or {"": ""}).items():
            found.setdefault(place, {}).setdefault(digest, []).append(name)
    return found


def files_in(place: Path) -> list[Path]:
    """A folder's cells, those that were made for what the newest was made for; or the one file."""
    if place.is_file():
        return [place]
    told = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(place.glob("*.json"))}
    newest = max(told, key=lambda path: path.stat().st_mtime_ns, default=None)
    return [path for path, cell in told.items() if newest and _kind(cell) == _kind(told[newest])]


def _kind(cell: Any) -> Any:
    """What a cell was made for, where it says it."""
    return cell.get("for") if isinstance(cell, dict) else None


def codes_in(place: Path) -> Codes:
    """Of a folder of cells, or of one file."""
    told = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files_in(place)}
    return codes_of({name: one for name, one in told.items() if isinstance(one, dict)})


def methods_codes(folder: Path) -> Codes:
    """Of `bench/methods.py`'s cells."""
    from methods import planned

    return codes_of({c.name: json.loads(c.result.read_text()) for c in planned(folder) if c.result.is_file()})


def dci_codes(folder: Path) -> Codes:
    """Of `bench/dci.py`'s cells."""
    from dci import cells_of

    return codes_of({name: json.loads(path.read_text()) for name, path in cells_of(folder).items()})


def elite_codes(folder: Path) -> Codes:
    """Of `bench/elite.py`'s cells."""
    from elite import cells_of

    return codes_of({name: json.loads(path.read_text()) for name, path in cells_of(folder).items()})


def methods_files(folder: Path) -> list[Path]:
    """`bench/methods.py`'s cells: as the repository keeps them where it does, else those of this folder."""
    from methods import planned

    files = [cell.result for cell in planned(folder) if cell.result.is_file()]
    kept = [RESULTS / "methods" / path.name for path in files]
    return [one if one.is_file() else path for one, path in zip(kept, files, strict=True)]


def dci_files(folder: Path) -> list[Path]:
    """`bench/dci.py`'s cells."""
    from dci import cells_of

    return [*cells_of(folder).values()]


def elite_files(folder: Path) -> list[Path]:
    """`bench/elite.py`'s cells."""
    from elite import cells_of

    return [*cells_of(folder).values()]


def kept_files(name: str, pattern: str) -> Callable[[Path], list[Path]]:
    """The cells that the repository keeps of a bench whose result is one file; that file where it keeps none."""
    return lambda place: sorted((RESULTS / name).glob(pattern)) or files_in(place)


def told_codes(codes: Codes) -> str:
    """In words: whether one code made all of it."""
    silent = sum(map(len, codes.get("", {}).values()))
    known = {place: digests for place, digests in codes.items() if place}
    several = [
        f"{place}: {len(digests)} versions ({'; '.join(sorted(shortest(digests)))})"
        for place, digests in known.items()
        if len(digests) > 1
    ]
    if not known:
        return "unknown"
    told = "; ".join(several) or "one"
    return f"{told}; unknown of {silent} cells" if silent else told


def shortest(digests: Mapping[str, list[str]]) -> list[str]:
    """The cells of all versions but the one that made most, at most three of each by name."""
    most = max(digests, key=lambda digest: (len(digests[digest]), digest))
    rest = [names for digest, names in digests.items() if digest != most]
    return [
        ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") for names in rest
    ]


def header(name: str) -> dict[str, Any]:
    """All that docs/results holds of a bench, as it lies there; nothing where nothing does."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def made_by(name: str) -> str:
    """In words: whether one code made all of a stored result."""
    return told_codes(header(name).get("code") or {})


UNKNOWN = "unknown"
DAY = re.compile(r"\d{4}-\d\d-\d\d")


def made(cells: Iterable[Path], before: Mapping[str, Any]) -> dict[str, str]:
    """{"measured": the newest day of these cells, "machine": all machines that made them}, from what says it.

    A cell that says its own day and machine is believed. One that git does not keep, under out/ or not committed yet,
    was made on this machine, when its file was written. One that git keeps is of its commit's day, never of its
    file's, which is that of the checkout; its machine is the stored result's where that is no older than the cell, and
    else unknown. Where nobody can say whether a file of docs/results came with a checkout, its day is the stored one.
    """
    days, machines = set[str](), set[str]()
    known, files = before.get("machine", UNKNOWN), [*cells]
    kept = {folder: committed(folder) for folder in {path.parent for path in files}}
    for path in files:
        told, since = json.loads(path.read_text(encoding="utf-8")), kept[path.parent]
        if isinstance(told, dict) and {"machine", "day"} <= told.keys():
            day, machine = told["day"], told["machine"]
        elif since is None and path.is_relative_to(RESULTS):
            day, machine = before.get("measured", ""), known
        elif since is None or path.name not in since:
            day, machine = date.fromtimestamp(path.stat().st_mtime).isoformat(), here()
        else:
            day = since[path.name]
            machine = known if day <= before.get("measured", "") else UNKNOWN
        days.add(day)
        machines |= {*machine.split("; ")}
    return {"measured": max(days, default="") or UNKNOWN, "machine": "; ".join(sorted(machines)) or UNKNOWN}


def committed(folder: Path) -> dict[str, str] | None:
    """{file of a folder: the day of its newest commit}, of those that are as they were committed; None where git knows
    nothing of the folder."""

    def git(*words: str) -> list[str]:
        asked = ["git", "-C", str(folder), "-c", "core.quotePath=false", *words, "--", "."]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()

    try:
        log = git("log", "--format=%cs", "--name-only", "--relative")
        changed = {*git("diff", "--name-only", "--relative", "HEAD"), *git("ls-files", "--others")}
    except (OSError, subprocess.CalledProcessError):
        return None
    found, day = dict[str, str](), ""
    for line in filter(None, log):
        if DAY.fullmatch(line):
            day = line
        else:
            found.setdefault(line, day)
    return {name: day for name, day in found.items() if name not in changed}


def here() -> str:
    """This machine, in words: its processor, cores and memory, and the torch that computes on it."""
    from motif.bench.machine import memory, processor
    from motif.versions import versions

    info = Path("/proc/cpuinfo")
    amx = " with AMX" if info.is_file() and " amx_tile" in info.read_text(encoding="utf-8") else ""
    size = f", {memory() / 2**30:.0f} GiB" if memory() else ""
    return f"{processor()}{amx}, {os.cpu_count()} cores{size}, torch {versions()['torch']}"


def plainly(value: Value) -> dict[str, Any]:
    """To five digits: it is a record, not a computation."""
    found: dict[str, Any] = {"mean": short(value.mean), "error": short(value.error)}
    if value.values:
        found["values"] = {name: [short(v) for v in values] for name, values in value.values.items()}
    return found | ({"note": value.note} if value.note else {})


def told_of(record: Mapping[str, Any]) -> Value:
    """A value from what `plainly` made of it."""
    return Value(record["mean"], record.get("error"), record.get("values", {}), record.get("note", ""))


def short(value: float | None) -> float | None:
    """Five digits of it."""
    return None if value is None else float(f"{value:.5g}")


MEASURED = ("CLIP-I", "CLIP-I of the first", "DINO-I", "CLIP-T", "drift")
"""What `bench/methods.py` says of every picture."""


def methods(folder: Path) -> dict[str, dict[str, Value]]:
    """`bench/methods.py`: a file for each row and object of its whole plan, and of the base that is here: neither what
    was tuned nor what another base gave."""
    from methods import planned
    from methods_report import BASE, pictures

    found: dict[str, dict[str, Any]] = {}
    for cell in planned(folder):
        if cell.result.is_file():
            name = "+".join(cell.spec["subjects"])
            found.setdefault(cell.spec["row"], {})[name] = json.loads(cell.result.read_text())
    rows: dict[str, dict[str, Value]] = {}
    for row, objects in found.items():
        names = [name for name in sorted(objects) if name in found.get(BASE, {})]
        if not names:
            continue
        metrics = [m for m in MEASURED if all(m in objects[n] for n in names)]
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
    """`bench/elite.py` and others: a file for each object and row (`bench/cells.py`), those that were made for what the
    newest was made for; of them the objects that have every row."""
    found: dict[str, dict[str, Any]] = {}
    for path in files_in(folder):
        told = json.loads(path.read_text(encoding="utf-8"))
        subject, _, row = path.stem.partition(" - ")
        values = {m: v for m, v in told.items() if m not in ("code", "for")}
        found.setdefault(row, {})[subject] = {m: v if isinstance(v, list) else [v] for m, v in values.items()}
    names = sorted(set[str].intersection(*(set(objects) for objects in found.values()))) if found else []
    return {
        row: {m: Value.of({n: objects[n][m] for n in names}) for m in objects[names[0]]}
        for row, objects in found.items()
        if names
    }


def with_trade_off(folder: Path) -> dict[str, dict[str, Value]]:
    """Cells, and the sum of both alignments as shares of the base's."""
    return shares(cells(folder))


def shares(rows: Mapping[str, Mapping[str, Value]]) -> dict[str, dict[str, Value]]:
    """Rows with CLIP-I plus CLIP-T, each as a share of the base's."""
    told = {row: dict(metrics) for row, metrics in rows.items()}
    base = next((m for row, m in rows.items() if row.startswith("base")), None)
    known = base is not None and all(base[m].known and base[m].mean for m in ("CLIP-T", "CLIP-I"))
    for row, metrics in rows.items() if base and known else ():
        text, image = (metrics[m].times(1 / base[m].mean) for m in ("CLIP-T", "CLIP-I"))
        told[row]["trade-off"] = text.plus(image)
    return told


def dci(folder: Path) -> dict[str, dict[str, Value]]:
    """`bench/dci.py`: its kept cells of the base that is here, and what its figure tells of them."""
    from dci import planned

    return dci_rows(planned(folder))


def elite(folder: Path) -> dict[str, dict[str, Value]]:
    """`bench/elite.py`: its kept cells of the base and the encoder that are here."""
    from elite import planned

    return planned(folder)


OWN, OTHERS = "ICO's", "Custom Diffusion's"
SEEN = ", by what is seen"
"""Ends the name of a distance at equal "asked" instead of equal CLIP-T."""
DRAWS = 500


def dci_rows(rows: Mapping[str, Mapping[str, Value]]) -> dict[str, dict[str, Value]]:
    """The same with how far a point lies above the curves of checkpoints (its own learning's, Custom Diffusion's), at
    equal CLIP-T and at equal share of what was asked; and both alignments as shares of the base's."""
    told = shares(rows)
    for row, metrics in rows.items():
        lanes = row.removeprefix("overfitted: ")
        if not lanes.startswith(("dci", "without")):
            continue
        own = "ico" if lanes == row else "ico, overfitted"
        for told_as, name in ((OWN, own), (OTHERS, "custom-diffusion")):
            steps = [m for other, m in rows.items() if other.startswith(f"{name} ")]
            curve = [m for other, m in rows.items() if other.startswith("base")] + steps
            for text, ending in (("CLIP-T", ""), ("asked", SEEN)) if steps else ():
                if text in metrics:
                    value = above_curve(metrics, curve, text=text)
                    told[row][f"above {told_as} checkpoints{ending}"] = value
    return told


def at(metrics: Mapping[str, Value], text: str) -> tuple[float, float]:
    """A row's point: (text, image) alignment."""
    return metrics[text].mean, metrics["CLIP-I"].mean


def above_curve(one: Mapping[str, Value], curve: Sequence[Mapping[str, Value]], *, text: str) -> Value:
    """How far a row lies above a curve, and the error of that; without one where they are not of the same pictures."""
    gap = above(at(one, text), [at(metrics, text) for metrics in curve])
    told = [metrics[m] for metrics in (one, *curve) for m in (text, "CLIP-I")]
    of = {tuple(sorted((name, len(some)) for name, some in value.values.items())) for value in told}
    if len(of) > 1:
        return Value(gap, note="the curve is of other pictures")
    return Value(gap, above_error(one, curve, text=text))


def above_error(
    one: Mapping[str, Value], curve: Sequence[Mapping[str, Value]], *, text: str = "CLIP-T"
) -> float | None:
    """The standard deviation of `above` over resamples of the pictures (a bootstrap), the same ones on the point and on
    all of the curve, whose own error counts as the point's does. None where pictures are not known."""
    import numpy as np

    def columns(metrics: Mapping[str, Value]) -> Any:  # [text and image, picture]
        names = sorted(metrics[text].values)
        return np.array(
            [[v for n in names for v in metrics[m].values.get(n, ())] for m in (text, "CLIP-I")],
            dtype=float,
        )

    every = [columns(metrics) for metrics in (one, *curve)]
    if len({pictures.shape for pictures in every}) > 1 or every[0].shape[1] < 2:
        return None
    stacked, draw = np.stack(every), np.random.default_rng(0)  # [row, text and image, picture]
    n = stacked.shape[2]
    found: list[float] = []
    for _ in range(DRAWS):
        point, *others = stacked[:, :, draw.integers(n, size=n)].mean(2).tolist()
        found.append(above((point[0], point[1]), [(x, y) for x, y in others]))
    return float(np.std(found, ddof=1))


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
    return {r: {m: told_of(v) for m, v in ms.items()} for r, ms in rows.items()}


@dataclass(frozen=True)
class Source:
    """Where a bench leaves its results, how they are read, the command that makes them, and the seeds it draws with."""

    read: Callable[[Path], Rows]
    place: str
    command: str
    seeds: str
    codes: Callable[[Path], Codes] = codes_in
    cells: Callable[[Path], Iterable[Path]] = files_in
    """The files that its rows come from: they say when and where it was made (`made`)."""
    kept: bool = False  # its cells travel with the repository, in docs/results


DRAWN = "0 to 3 of each prompt; learning 0"
"""As most benches draw: four pictures of each prompt, of concepts learned once."""
READERS: Mapping[str, Source] = {
    "methods": Source(
        methods,
        "methods",
        "python bench/methods.py",
        "0 to 3 of each prompt, 0 to 15 of the class word alone; learning 0",
        methods_codes,
        methods_files,
    ),
    "editing": Source(
        scores,
        "editing/editing.json",
        "python bench/editing.py -o out/bench/editing",
        "0; SDEdit's strengths 0 to 2",
        cells=kept_files("editing", "*.result"),
    ),
    "dci": Source(dci, "dci", "python bench/dci.py", DRAWN, dci_codes, dci_files, kept=True),
    "custom-edit": Source(
        plain_rows,
        "custom-edit/results.json",
        "python bench/custom_edit.py",
        "0; SDEdit 0 to 2",
        lambda _: codes_in(RESULTS / "custom-edit"),
        kept_files("custom-edit", "*.json"),
    ),
    "elite": Source(
        elite,
        "elite",
        "python bench/elite.py --ablation-steps 200 --learned",
        "0 to 2 of each prompt; learning 0, of ELITE's encoders 23",
        elite_codes,
        elite_files,
        kept=True,
    ),
    "value-embedding": Source(cells, "value-embedding/cells", "python bench/value_embedding.py", "0"),
    "short-captions": Source(cells, "short-captions/cells", "python bench/value_embedding.py", "0"),
    "ico-schemes": Source(with_trade_off, "ico-schemes/cells", "python bench/ico_schemes.py", DRAWN),
    "keys-values": Source(cells, "keys-values/cells", "python bench/keys_values.py", "0 to 3 of each prompt"),
    "learned-inputs": Source(cells, "learned-inputs/cells", "python bench/learned_inputs.py", "0"),
    "compress": Source(cells, "compress/cells", "python bench/compress.py", DRAWN),
    "weights": Source(cells, "weights/cells", "python bench/compress.py", "learning 0"),
    "merge": Source(
        plain_rows,
        "merge/results.json",
        "python bench/merge.py -o out/bench/merge/merge.md",
        "1, 2 ... of the concepts' random weights",
    ),
}
"""What stored results come from, by their names under docs/results."""


NAMES = {"clip-i": "CLIP-I", "clip-t": "CLIP-T", "dino-i": "DINO-I"}


def quick(file: Path) -> Callable[[str], Rows | None]:
    """What `make quick` measured (a trade-off's table), as the benches' results: the last point of each method stands
    for it in "methods"; the checkpoints of ICO and of Custom Diffusion and DCI's points are those of "dci"."""
    singles: dict[str, dict[str, Value]] = {}
    points: dict[str, dict[str, Value]] = {}
    for point in json.loads(file.read_text(encoding="utf-8"))["points"]:
        found = {NAMES[m]: Value(s["mean"], s["error"]) for m, s in point["scores"].items()}
        along, until = point["settings"].get(point["along"]), point["settings"].get("until", 0.3)
        if point["method"] != "ico + dci":
            singles[point["method"]] = found
        row = {name: f"{name} {along}" for name in ("ico", "custom-diffusion")}
        row |= {"the base": "base", "ico + dci": f"dci {along or 0:g}, until {until:g}"}
        if found and point["method"] in row:
            points[row[point["method"]]] = found
    both = {"methods": singles, "dci": dci_rows(points)}
    return both.get
