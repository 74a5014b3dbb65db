"""The text format of protocol buffers, as much as Caffe's network descriptions use, from an untrusted file.

A message is fields `name: value`, `name { ... }` or `name: [value, ...]`, in any order and any number of times each.
Values are kept as they stand: numbers, and words and strings as str. Fields have no schema here: whoever reads a
message asks for what it knows, with `known` for the check that nothing else is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NoReturn, TypeAlias

from lissome.errors import FormatError

MAX_CHARACTERS: Final = 2**24
MAX_DEPTH: Final = 32
MAX_INTEGER: Final = 2**31 - 1

_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\f\v]+|\#[^\n]*) | (?P<line>\n)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>[-+]?(?:0[xX][0-9a-fA-F]{1,16}
                        |(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][-+]?\d{1,4})?[fF]?)(?![\w.]))
      | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<sign>[{}<>:;,\[\]])""",
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}
_CLOSES: Final = {"{": "}", "<": ">"}

Value: TypeAlias = "int | float | str | Message"


@dataclass(frozen=True)
class Message:
    """Fields by name, each with its values in order. line: where it begins; where: the file, for errors.

    Every reader raises FormatError naming file, line and field.
    """

    where: str
    line: int
    fields: dict[str, list[Value]] = field(default_factory=dict)

    def fail(self, what: str) -> NoReturn:
        """Raise FormatError at this message."""
        raise FormatError(f"{self.where}, line {self.line}: {what}")

    def known(self, *names: str) -> None:
        """Refuse any field that is not in `names`: one that is not understood might change the result."""
        unknown = [name for name in self.fields if name not in names]
        if unknown:
            self.fail(f"field {unknown[0][:80]!r} is not known here; known: {', '.join(sorted(names))}")

    def one(self, name: str) -> Value | None:
        """The field's value, None when it is absent; a field that stands twice is an error."""
        values = self.fields.get(name, [])
        if len(values) > 1:
            self.fail(f"field {name!r} stands {len(values)} times, once is enough")
        return values[0] if values else None

    def text(self, name: str, default: str | None = None) -> str:
        """A word or string."""
        value = self.one(name)
        if value is None and default is not None:
            return default
        return value if isinstance(value, str) else self.fail(f"field {name!r} is to be a word or a string")

    def texts(self, name: str) -> tuple[str, ...]:
        """All of the field's words or strings."""
        values = self.fields.get(name, [])
        return tuple(v if isinstance(v, str) else self.fail(f"field {name!r} holds strings") for v in values)

    def integers(self, name: str) -> tuple[int, ...]:
        """All of the field's integers, each 0 to 2^31 - 1."""
        return tuple(self._integer(name, value) for value in self.fields.get(name, []))

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer of 0 to 2^31 - 1."""
        value = self.one(name)
        return default if value is None and default is not None else self._integer(name, value)

    def real(self, name: str, default: float) -> float:
        """A finite number."""
        value = self.one(name)
        if value is None:
            return default
        if not isinstance(value, int | float) or not abs(value) < 1e38:
            self.fail(f"field {name!r} is to be a finite number")
        return float(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """A truth value: true or false, or 1 or 0."""
        value = self.one(name)
        if value not in (None, "true", "false", 0, 1):
            self.fail(f"field {name!r} is to be true or false")
        return default if value is None else value in ("true", 1)

    def message(self, name: str) -> Message:
        """A message; an empty one when it is absent."""
        value = self.one(name)
        if value is None:
            return Message(self.where, self.line)
        return (
            value if isinstance(value, Message) else self.fail(f"field {name!r} is to be a message, {name} {{ ... }}")
        )

    def messages(self, name: str) -> tuple[Message, ...]:
        """All of the field's messages."""
        values = self.fields.get(name, [])
        return tuple(v if isinstance(v, Message) else self.fail(f"field {name!r} holds messages") for v in values)

    def _integer(self, name: str, value: Value | None) -> int:
        if not isinstance(value, int) or not 0 <= value <= MAX_INTEGER:
            self.fail(f"field {name!r} is to be an integer of 0 to {MAX_INTEGER}")
        return value


def parse(text: str, where: str) -> Message:
    """The message that `text` spells; `where` names it in errors. Raises FormatError with the line."""
    if len(text) > MAX_CHARACTERS:
        raise FormatError(f"{where}: {len(text):,} characters; a network description has at most {MAX_CHARACTERS:,}")
    return _Reader(text, where).message(1, None, 0)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


class _Reader:
    """Recursive descent with one token in hand; depth is bounded."""

    def __init__(self, text: str, where: str) -> None:
        self._where = where
        self._tokens = self._scan(text)
        self._next = next(self._tokens)

    def message(self, line: int, until: str | None, depth: int) -> Message:
        """Fields up to the sign `until`, or up to the end."""
        if depth > MAX_DEPTH:
            self._fail(f"messages lie more than {MAX_DEPTH} deep in one another")
        found = Message(self._where, line)
        while not (self._next.kind == "sign" and self._next.text == until):
            if self._next.kind == "end" and until is None:
                return found
            name = self._take("word", "a field's name")
            found.fields.setdefault(name.text, []).extend(self._values(name, depth))
            if self._next.text in (",", ";"):
                self._advance()
        self._advance()
        return found

    def _values(self, name: _Token, depth: int) -> list[Value]:
        colon = self._next.text == ":"
        if colon:
            self._advance()
        if self._next.text in _CLOSES:
            opening = self._take("sign", "{")
            return [self.message(name.line, _CLOSES[opening.text], depth + 1)]
        if not colon:
            self._fail(f"after {name.text[:80]!r} comes ':' or '{{'")
        if self._next.text != "[":
            return [self._scalar()]
        self._advance()
        values: list[Value] = []
        while self._next.text != "]":
            values.append(self._scalar())
            if self._next.text not in (",", "]"):
                self._fail("values of a list are separated by ','")
            if self._next.text == ",":
                self._advance()
        self._advance()
        return values

    def _scalar(self) -> Value:
        token = self._next
        if token.kind == "number":
            self._advance()
            return _number(token.text)
        if token.kind == "word":
            self._advance()
            return token.text
        parts = []
        while self._next.kind == "text":  # strings that stand together are one
            parts.append(_ESCAPE.sub(self._unescape, self._take("text", "a value").text[1:-1]))
        return "".join(parts) if parts else self._fail("a value is missing")

    def _unescape(self, match: re.Match[str]) -> str:
        return _ESCAPES.get(match[1]) or self._fail(f"the escape \\{match[1]} is not known")

    def _take(self, kind: str, what: str) -> _Token:
        token = self._next
        if token.kind != kind:
            self._fail(f"{what} is missing")
        self._advance()
        return token

    def _advance(self) -> None:
        self._next = next(self._tokens)

    def _scan(self, text: str) -> Iterator[_Token]:
        line, at = 1, 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise FormatError(f"{self._where}, line {line}: cannot read {text[at : at + 20]!r}")
            kind = str(match.lastgroup)
            if kind not in ("space", "line"):
                yield _Token(kind, match[0], line)
            line += kind == "line"
            at = match.end()
        while True:
            yield _Token("end", "", line)

    def _fail(self, what: str) -> NoReturn:
        found = repr(self._next.text[:40]) if self._next.kind != "end" else "the end of the file"
        raise FormatError(f"{self._where}, line {self._next.line}: {what}; found {found}")


def _number(text: str) -> int | float:
    if text[:3].lstrip("+-").lower().startswith("0x"):
        return int(text, 16)
    digits = text.lstrip("+-")
    return int(text) if digits.isdecimal() else float(text.rstrip("fF"))
