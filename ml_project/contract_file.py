"""Contracts as people write them: YAML, in which a name such as ``risk1..risk12`` stands for each of its range.

Every fault is told with its line and what to do about it. Names and categories are taken as they are written: YAML
alone would read the field ``no`` as false.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ml_project.contract import Contract, expanded
from ml_project.contract_check import ContractFault, contract_faults
from ml_project.contract_parts import ContractField, Feature, Label
from ml_project.errors import InvalidInput
from ml_project.features import OPERATORS

FOLDER: Final = Path(__file__).parents[1] / "contracts"
"""The contracts that come with the platform."""

DEFAULT: Final = "creditcard"

_LARGEST: Final = 1024**2
_RANGE: Final = re.compile(r"(?P<stem>.*?)(?P<first>\d+)\.\.(?P=stem)(?P<last>\d+)", re.ASCII)
_MOST_NAMES: Final = 2_000
_SECTIONS: Final = ("contract", "version", "fields", "label", "features", "limits")
_OPTIONAL: Final = ("version", "limits")
_OF_HISTORY: Final = ("of", "by", "window", "delay")
_BESIDE_THE_OPERATOR: Final = Feature.model_fields.keys() - {"name", "operator", *_OF_HISTORY}


PartT = TypeVar("PartT", bound=BaseModel)


class InvalidContract(InvalidInput):
    """A contract that cannot be used, with all its faults.

    Attributes
    ----------
    lines : list of str
        A fault each: file, line, cause and remedy.
    """

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        more = f" {len(lines) - 1} more faults follow: see `contract check`." if len(lines) > 1 else ""
        super().__init__(lines[0], more.strip())


@lru_cache
def contract_named(name: str = DEFAULT) -> Contract:
    """A contract that comes with the platform, by its name, or the one of a YAML file; read once.

    Raises
    ------
    InvalidInput
        When there is none; see `read_contract`.
    """
    path = FOLDER / f"{name}.yaml"
    if path.is_file() and Path(name).name == name:
        return read_contract(path)
    if Path(name).suffix not in (".yaml", ".yml"):
        known = ", ".join(sorted(each.stem for each in FOLDER.glob("*.yaml")))
        raise InvalidInput(f"There is no contract {name!r}.", f"Give a YAML file, or one of {known}.")
    return read_contract(Path(name))


def read_contract(path: Path) -> Contract:
    """Read a contract.

    Raises
    ------
    InvalidContract
        Naming every fault with its line.
    InvalidInput
        When there is no such file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror}).", "Give a contract's file.") from error
    return parse_contract(content, str(path))


def parse_contract(content: bytes, name: str) -> Contract:
    """The contract in a file's content; messages call it by ``name``; see `read_contract`."""
    try:
        text = content[: _LARGEST + 1].decode("utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or "it is not UTF-8 text"
        raise InvalidContract([f"{name}, {place}not YAML ({problem}). Correct it."]) from error
    if len(content) > _LARGEST or not isinstance(node, yaml.MappingNode):
        raise InvalidContract([f"{name}: not a contract. It is a mapping with {', '.join(_SECTIONS)}."])
    reader = _Reader()
    parts = reader.read(node)
    faults = reader.faults or list(contract_faults(parts["fields"], parts["label"], parts["features"]))
    if faults:
        raise InvalidContract([reader.told(fault, name) for fault in faults])
    try:
        return Contract(**{**parts, "features": expanded(parts["fields"], parts["features"])})
    except ValidationError as error:
        [first, *_others] = error.errors(include_url=False)
        where = ".".join(map(str, first["loc"]))
        raise InvalidContract([f"{name}: {where}: {first['msg']}."]) from error


@dataclass(frozen=True)
class _Entry:
    """A member of a mapping: its line (from 1), and what it holds."""

    line: int
    node: yaml.Node


class _Reader:
    """Turns nodes into a contract's parts; remembers the lines, and what is wrong."""

    def __init__(self) -> None:
        self.faults: list[ContractFault] = []
        self._lines: dict[tuple[str, ...], int] = {}

    def told(self, fault: ContractFault, name: str) -> str:
        """A fault as one line of text."""
        place = fault.place
        line = next((self._lines[place[:k]] for k in range(len(place), 0, -1) if place[:k] in self._lines), 1)
        noun = _NOUNS.get(place[0], "") if place else ""
        what = f"{noun} {place[1]}: " if noun and len(place) > 1 else f"{noun}: " if noun == "label" else ""
        return f"{name}, line {line}: {what}{fault.cause}. {fault.remedy}"

    def read(self, node: yaml.MappingNode) -> dict[str, Any]:
        """The arguments of `Contract`; incomplete where there are faults."""
        sections = self._members(node, ())
        for name in sections:
            if name not in _SECTIONS:
                self._fault((name,), f"there is no section {name}", f"Use {', '.join(_SECTIONS)}.")
        for name in _SECTIONS:
            if name not in sections and name not in _OPTIONAL:
                self._fault((), f"the section {name} is missing", "Add it.")
        parts: dict[str, Any] = {"contract": "", "version": 1, "fields": [], "label": Label(field="?"), "features": []}
        for name in ("contract", *_OPTIONAL):
            if name in sections:
                parts[name] = _value(sections[name].node)
        if "fields" in sections:
            parts["fields"] = list(self._fields(sections["fields"].node))
        if "label" in sections:
            members = {key: _read(key, entry) for key, entry in self._mapping("label", sections["label"].node).items()}
            parts["label"] = self._part(Label, members, ("label",)) or parts["label"]
        if "features" in sections:
            parts["features"] = list(self._features(sections["features"].node))
        return parts

    def _fields(self, node: yaml.Node) -> Iterator[ContractField]:
        for written, entry in self._mapping("fields", node).items():
            place = ("fields", written)
            members = {key: _read(key, each) for key, each in self._members(entry.node, place).items()}
            names = self._unrolled(written, place)
            for number, name in enumerate(names):
                given = {**members, "name": name}
                examples = members.get("example")
                if isinstance(examples, list) and len(examples) == len(names):  # of a range, one each
                    given["example"] = examples[number]
                field = self._part(ContractField, given, place)
                if field is not None:
                    self._lines.setdefault(("fields", field.name), entry.line)
                    yield field

    def _features(self, node: yaml.Node) -> Iterator[Feature]:
        for written, entry in self._mapping("features", node).items():
            place = ("features", written)
            members = self._members(entry.node, place)
            operators = [key for key in members if key not in _BESIDE_THE_OPERATOR]
            if len(operators) != 1:
                known = ", ".join(OPERATORS)
                self._fault(place, f"{len(operators)} operators, not one", f"Name one of {known}.")
                continue
            [operator] = operators
            others = {key: _read(key, each) for key, each in members.items() if key != operator}
            node = members[operator].node
            if isinstance(node, yaml.MappingNode):
                asked = self._history(node, place)
                arguments = _names(asked.pop("of").node) if "of" in asked else []
                others |= {key: _read(key, each) for key, each in asked.items()}
            else:
                arguments = _names(node)
            unrolled = [name for argument in arguments for name in self._unrolled(argument, place)]
            names = self._unrolled(written, place)
            # A range of features takes its range of fields one by one.
            taken = [(name,) for name in unrolled] if len(names) > 1 else [tuple(unrolled)]
            if len(names) > 1 and len(unrolled) != len(names):
                self._fault(place, f"{len(names)} features of {len(unrolled)} fields", "Make the ranges as long.")
                continue
            for name, of in zip(names, taken, strict=True):
                feature = self._part(Feature, {**others, "name": name, "operator": operator, "of": of}, place)
                if feature is not None:
                    self._lines.setdefault(("features", feature.name), entry.line)
                    yield feature

    def _history(self, node: yaml.MappingNode, place: tuple[str, ...]) -> dict[str, _Entry]:
        asked = self._members(node, place)
        for key in asked.keys() - set(_OF_HISTORY):
            self._fault(place, f"{key}: unknown key", f"Use {', '.join(_OF_HISTORY)}.")
        return {key: entry for key, entry in asked.items() if key in _OF_HISTORY}

    def _part(self, kind: type[PartT], members: dict[str, Any], place: tuple[str, ...]) -> PartT | None:
        try:
            return kind.model_validate(members)
        except ValidationError as error:
            for each in error.errors(include_url=False, include_context=False):
                key = ".".join(map(str, each["loc"]))
                known = ", ".join(sorted(kind.model_fields.keys() - {"name", "operator", *_OF_HISTORY}))
                remedy = f"Use {known}." if each["type"] == "extra_forbidden" else "Correct it."
                said = "unknown key" if each["type"] == "extra_forbidden" else each["msg"]
                fault = ContractFault(place, f"{key}: {said}", remedy)
                if fault not in self.faults:
                    self.faults.append(fault)
        return None

    def _unrolled(self, written: str, place: tuple[str, ...]) -> list[str]:
        match = _RANGE.fullmatch(written)
        if match is None:
            return [written]
        first, last = int(match["first"]), int(match["last"])
        if not first < last < first + _MOST_NAMES:
            self._fault(place, f"the range {written} runs from {first} to {last}", "Write it from low to high.")
            return [written]
        return [f"{match['stem']}{number}" for number in range(first, last + 1)]

    def _mapping(self, section: str, node: yaml.Node) -> dict[str, _Entry]:
        return self._members(node, (section,))

    def _members(self, node: yaml.Node, place: tuple[str, ...]) -> dict[str, _Entry]:
        if not isinstance(node, yaml.MappingNode):
            self._fault(place, "it holds no names", "Write a mapping, such as {type: number}.")
            return {}
        found: dict[str, _Entry] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in found:
                self._lines[(*place, name)] = line
                self._fault((*place, name), f"it is there twice, first in line {found[name].line}", "Keep one.")
            self._lines.setdefault((*place, name), line)
            found[name] = _Entry(line, value)
        return found

    def _fault(self, place: tuple[str, ...], cause: str, remedy: str) -> None:
        self.faults.append(ContractFault(place, cause, remedy))


_NOUNS: Final = {"fields": "field", "features": "feature", "label": "label"}


_AS_WRITTEN: Final = ("values", "positive", "negative", "unknown")
_TEXTS: Final = ("category", "by")


def _read(key: str, entry: _Entry) -> Any:
    """What a member says; values of categories and labels are taken as they are written."""
    if key in _AS_WRITTEN:
        return _names(entry.node)
    return str(entry.node.value) if key in _TEXTS else _value(entry.node)


def _value(node: yaml.Node) -> Any:
    """What a node says, in Python's own types."""
    return yaml.constructor.SafeConstructor().construct_document(node)


def _names(node: yaml.Node) -> list[str]:
    """A name, or a list of them, as written."""
    if isinstance(node, yaml.SequenceNode):
        return [str(each.value) for each in node.value]
    return [str(node.value)]
