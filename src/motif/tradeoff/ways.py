"""The methods of a spec, checked against the functions that they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from motif import methods
from motif.errors import InputError
from motif.tradeoff import spec as asked
from motif.tradeoff.settings import LEARN_OWN, OWN, Choices, Signature, grid
from motif.tradeoff.spec import nearest
from motif.tradeoff.subjects import START, Subject


@dataclass(frozen=True, eq=False)
class Way:
    """A method of the spec with its settings' values, of learning and of drawing."""

    asked: asked.Method
    learn: Signature | None
    sample: Signature
    learning: Mapping[str, Choices]
    sampling: Mapping[str, Choices]

    def grid(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Every combination of settings of learning and of drawing."""
        return [(one, other) for one in grid(self.learning) for other in grid(self.sampling)]

    def ends(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Points of a search among which is every choice and both ends of every range: of each setting in turn, while
        the others stand at their first."""
        parts = (self.learning, self.sampling)
        learning, sampling = ({name: each.ends[0] for name, each in part.items()} for part in parts)
        ahead = [({name: value}, {}) for name, each in self.learning.items() for value in each.ends[1:]]
        ahead += [({}, {name: value}) for name, each in self.sampling.items() for value in each.ends[1:]]
        return [(learning, sampling), *(({**learning, **one}, {**sampling, **other}) for one, other in ahead)]

    def taught(self, own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Settings with a concept's own under them: where the method has it, what the word starts from; where it learns
        from a prior, that one."""
        known = self.learn.parameters if self.learn else {}
        prior = known.get("prior")
        wanted = prior is not None and given.get("prior", prior.default) != "none"
        heard = {name: told for name, told in own.items() if (name in known if name == START else wanted)}
        return {**heard, **given}

    def shown(self, who: Subject) -> Subject:
        """A concept as this method learns and names it."""
        return who if self.asked.noun else who.alone

    def varying(self, learning: Mapping[str, Any], sampling: Mapping[str, Any]) -> dict[str, Any]:
        """What tells a point of these settings apart; "drawing steps" where learning has steps too."""
        first = {name: learning[name] for name, each in self.learning.items() if each.varies}
        rest = {name: sampling[name] for name, each in self.sampling.items() if each.varies}
        known = self.learn.parameters if self.learn else {}
        return first | {f"drawing {name}" if name in known else name: value for name, value in rest.items()}

    @property
    def names(self) -> list[str]:
        """The settings that vary."""
        return [*self.varying(dict.fromkeys(self.learning), dict.fromkeys(self.sampling))]

    @property
    def along(self) -> str:
        """What its curves run along; "" where it is one point."""
        return self.asked.along or next(iter(self.names), "")


def read_way(method: asked.Method, spec: asked.Spec) -> Way:
    """A method of the spec, checked against its functions."""
    learn = Signature(method.learn, methods.load("learn", method.learn), LEARN_OWN) if method.learn else None
    if method.settings and learn is None:
        raise InputError(f"{method.called} has settings of learning, and learns nothing: name `learn`")
    sample = Signature(method.sample, methods.load("sample", method.sample), OWN)
    learning = learn.read(method.settings) if learn else {}
    shared = {k: v for k, v in spec.sampling.items() if k in sample.parameters}
    known = {
        k
        for one in spec.methods
        for k in Signature(one.sample, methods.load("sample", one.sample)).parameters
    }
    if lost := [name for name in spec.sampling if name not in known]:
        raise InputError(
            f"sampling: no way to draw here has a setting {lost[0]}{nearest(lost[0], sorted(known))}"
        )
    sampling = sample.read({**shared, **method.sampling})
    found = Way(method, learn, sample, learning, sampling)
    varying = found.names
    if method.along and method.along not in varying:
        raise InputError(
            f"{method.called}: along {method.along}, which has no several values ({', '.join(varying)})"
        )
    if len(varying) > 1 and not method.along:
        raise InputError(
            f"{method.called}: {' and '.join(varying)} vary: say which a curve runs along (`along`)"
        )
    return found
