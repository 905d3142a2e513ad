"""Fits a TOML document into frozen dataclasses and gathers everything that is wrong with it, not only the first."""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from dataclasses import dataclass
from typing import Any, Final

from aircharge.allowed import Limit, Listed, limit_of, shown
from aircharge.errors import ConfigError

__all__ = ["Fitter"]

_BAD: Final = object()  # stands where a value was refused; what holds it is not built
_NAMED: Final = re.compile(r"([a-z_]+):? ")


@dataclass(frozen=True, slots=True)
class _Key:
    """``text`` as the file's reader knows it (operator[0].id), ``rule`` as it is declared (operator[].id)."""

    text: str = ""
    rule: str = ""

    def item(self, name: str) -> _Key:
        dot = "." if self.text else ""
        return _Key(f"{self.text}{dot}{name}", f"{self.rule}{dot}{name}")

    def row(self, index: int) -> _Key:
        return _Key(f"{self.text}[{index}]", f"{self.rule}[]")

    def entry(self, name: str) -> _Key:
        return _Key(f"{self.text}.{name}", f"{self.rule}.*")


class Fitter:
    """``problems`` is empty when what ``fit`` returned may be used."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.problems: list[ConfigError] = []

    def fit(self, kind: type[Any], document: Any, hidden: tuple[str, ...] = ()) -> Any:
        """``kind`` built of a document; ``hidden``: fields of it that are no keys."""
        return self._table(_Key(), kind, document, hidden)

    def _say(self, key: _Key, why: str) -> object:
        self.problems.append(ConfigError(self._path, key.text or "-", why))
        return _BAD

    def _table(self, key: _Key, kind: type[Any], document: Any, hidden: tuple[str, ...] = ()) -> Any:
        if not isinstance(document, dict):
            return self._say(key, f"{shown(document)}: must be a table")
        hints = typing.get_type_hints(kind)
        known = {item.name: item for item in dataclasses.fields(kind) if item.name not in hidden}
        values, before = {}, len(self.problems)
        for name, value in document.items():
            if name in known:
                values[name] = self._value(key.item(name), hints[name], value, _default(known[name]))
            else:
                self._say(
                    key.item(str(name)), f"unknown key ({shown(value)}); known: {', '.join(sorted(known))}"
                )
        for name, item in known.items():
            if _default(item) is dataclasses.MISSING and name not in values:
                self._say(key.item(name), "missing")
        if len(self.problems) > before:
            return _BAD
        try:
            return kind(**values)
        except (ValueError, TypeError) as error:
            found = _NAMED.match(str(error))
            inner = key.item(found[1]) if found and found[1] in known else key
            value = f"{shown(document[found[1]])}: " if found and found[1] in document else ""
            return self._say(inner, f"{value}{error}")

    def _value(self, key: _Key, hint: Any, value: Any, default: Any) -> Any:
        origin = typing.get_origin(hint)
        if origin in (types.UnionType, typing.Union):
            hint = next(arg for arg in typing.get_args(hint) if arg is not type(None))
            origin = typing.get_origin(hint)
        if dataclasses.is_dataclass(hint):
            return self._table(key, typing.cast("type[Any]", hint), value)
        if origin is tuple:
            return self._list(key, typing.get_args(hint)[0], value)
        if origin is dict:
            return self._entries(key, typing.get_args(hint)[1], value)
        limit = limit_of(key.rule, hint, default)
        return self._one(key, hint, limit if isinstance(limit, Limit) else None, value)

    def _one(self, key: _Key, hint: type, limit: Limit | None, value: Any) -> Any:
        if hint is float and type(value) in (int, float):
            value = _finite(value)
        allowed = f"; allowed: {limit.words}" if limit else ""
        if type(value) is not hint:
            name = {int: "int (a whole number)", str: "str (text in quotes)"}.get(hint, hint.__name__)
            return self._say(key, f"{shown(value)}: must be {name}, not {type(value).__name__}{allowed}")
        if isinstance(value, float) and not math.isfinite(value):
            return self._say(key, f"{shown(value)}: must be a finite number{allowed}")
        problem = limit.problem(value) if limit else ""
        return self._say(key, problem) if problem else value

    def _list(self, key: _Key, inner: Any, value: Any) -> Any:
        if not isinstance(value, list):
            return self._say(key, f"{shown(value)}: must be a list")
        if dataclasses.is_dataclass(inner):
            kind = typing.cast("type[Any]", inner)
            return tuple(self._table(key.row(index), kind, item) for index, item in enumerate(value))
        limit = limit_of(key.rule, tuple, ())
        listed = limit if isinstance(limit, Listed) else Listed(Limit("anything", lambda item: ""))
        if len(value) < listed.least:
            return self._say(key, f"{shown(value)}: too short; allowed: {listed.words}")
        rows = [self._one(key.row(index), inner, listed.each, item) for index, item in enumerate(value)]
        twice = {shown(row) for row in rows if row is not _BAD and rows.count(row) > 1}
        if twice and key.rule != "pos.door.parameters":
            return self._say(key, f"{', '.join(sorted(twice))}: stands there twice; allowed: {listed.words}")
        return tuple(rows)

    def _entries(self, key: _Key, inner: Any, value: Any) -> Any:
        if not isinstance(value, dict):
            return self._say(key, f"{shown(value)}: must be a table")
        if dataclasses.is_dataclass(inner):
            kind = typing.cast("type[Any]", inner)
            return {name: self._table(key.entry(name), kind, item) for name, item in value.items()}
        limit = limit_of(key.rule, dict, {})
        listed = limit if isinstance(limit, Listed) else Listed(Limit("anything", lambda item: ""))
        for name in value:
            problem = listed.key.problem(name) if listed.key else ""
            if problem:
                self._say(key.entry(name), problem)
        return {name: self._one(key.entry(name), inner, listed.each, item) for name, item in value.items()}


def _default(item: dataclasses.Field[Any]) -> Any:
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return item.default


def _finite(value: float) -> float:
    """A whole number may stand where a fraction is meant; one too large for it is no finite number."""
    try:
        return float(value)
    except OverflowError:
        return math.inf
