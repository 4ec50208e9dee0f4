"""Reads YAML that says no more than JSON could, and knows the line of every key.

No tags, anchors or aliases; scalars mean what YAML 1.2's core schema says (so `no` and `12:30` are
texts); keys are texts, each once. What is read can hold no object and can't grow beyond the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import inf
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

Place = tuple[str | int, ...]
"""Where a value stands: keys of mappings and positions in lists, from the document's root."""

MAX_BYTES = 256 << 10
# JSON is made of a document later, by a library that goes 254 levels deep.
_MAX_DEPTH = 100
# More than any whole number that is taken has, in any notation; Python reads at most 4,300.
_MAX_DIGITS = 80
_TAG = "tag:yaml.org,2002:"
_TOO_DEEP = f"lists or mappings are nested too deeply: at most {_MAX_DEPTH} levels are read"


class YamlError(Exception):
    """The text can't be read.

    Args:
        line: from 1.
    """

    def __init__(self, problem: str, line: int = 1) -> None:
        super().__init__(problem)
        self.line = line


@dataclass
class Document:
    """What a file says.

    Attributes:
        data: dicts, lists, texts, numbers, booleans and None.
        lines: the line (from 1) of each key or list item.
    """

    data: Any
    lines: dict[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """The line of a value; of what it should stand in when it is not there."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def found(self, place: Place) -> Any:
        """The value at a place that exists."""
        value = self.data
        for part in place:
            value = value[part]
        return value


def read_yaml(text: bytes) -> Document:
    """Reads a document. Raises YamlError at the first thing that is not allowed."""
    if len(text) > MAX_BYTES:
        raise YamlError(f"expected at most {MAX_BYTES:,} bytes, found more")
    loader = None
    try:
        loader = _Loader(text.decode("utf-8-sig"))
        node = loader.get_single_node()
        document = Document(None)
        document.data = None if node is None else _value(node, (), document.lines)
        return document
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        raise YamlError("expected UTF-8, found other bytes", line) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(_problem(error), mark.line + 1 if mark else 1) from None
    except yaml.reader.ReaderError as error:
        line = text.decode("utf-8-sig")[: error.position].count("\n") + 1
        raise YamlError("a control character stands in the file", line) from None
    except RecursionError:
        raise YamlError(_TOO_DEEP) from None


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML's composer without aliases, and with the scalars of YAML 1.2."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None):
            raise YamlError(
                "anchors (&) and aliases (*) are not read: write the value out, and put a text "
                "that begins with one of them into quotes",
                event.start_mark.line + 1,
            )
        return super().compose_node(parent, index)


_SCALARS = {
    "null": (re.compile(r"^(?:~|null|Null|NULL|)$"), [*"~nN", ""]),
    "bool": (re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    "int": (re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")),
    "float": (
        re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
        list("-+.0123456789"),
    ),
}
for _name, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(_TAG + _name, _pattern, _first)


def _value(node: yaml.Node, place: Place, lines: dict[Place, int]) -> Any:
    line = node.start_mark.line + 1
    if len(place) > _MAX_DEPTH:
        raise YamlError(_TOO_DEEP, line)
    lines.setdefault(place, line)
    if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
        return _mapping(node, place, lines)
    if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
        return [_value(one, (*place, n), lines) for n, one in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, line)
    raise YamlError(_no_tag(node.tag), line)


def _mapping(node: yaml.MappingNode, place: Place, lines: dict[Place, int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise YamlError("expected a name as key, found a list or mapping", line)
        if key.value in found:
            first = lines[(*place, key.value)]
            raise YamlError(f"the key {key.value} stands here and in line {first}", line)
        lines[(*place, _text(key.value, line))] = line
        found[key.value] = _value(value, (*place, key.value), lines)
    return found


def _scalar(node: yaml.ScalarNode, line: int) -> Any:
    kind = node.tag.removeprefix(_TAG)
    text = node.value
    if kind == "str":
        return _text(text, line)
    if kind not in _SCALARS:
        raise YamlError(_no_tag(node.tag), line)
    if not _SCALARS[kind][0].match(text):
        raise YamlError(f"the value is not of the type {kind} that its tag names", line)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int" and len(text) > _MAX_DIGITS:
        raise YamlError("the number is too large", line)
    number = int(text, 0 if text[:2] in ("0o", "0x") else 10) if kind == "int" else float(text)
    if (isinstance(number, int) and not -(2**63) <= number < 2**64) or number in (inf, -inf):
        raise YamlError("the number is too large", line)
    return number


def _text(text: str, line: int) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise YamlError("half of a pair of surrogates is no character", line) from None
    return text


def _no_tag(tag: str) -> str:
    return f"the tag {tag} is not read: leave it out"


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = f"this is no YAML: {error.problem}"
    if error.context:
        problem += f" ({error.context})"
    if "alias" in (error.context or "") or "anchor" in (error.context or ""):
        problem += "; put a text that begins with * or & into quotes, as a schedule"
    return problem
