"""State machines as tables: ``dict[(state, input)] -> state``, to be held against the standard's own.

A transition that is not in the table is an error, never a silent nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from enum import Enum
from typing import TypeVar

from aircharge.errors import WireError

__all__ = ["IllegalInput", "advance", "draw"]

State = TypeVar("State", bound=Hashable)
Input = TypeVar("Input", bound=Hashable)


class IllegalInput(WireError):
    """An input that the table does not know in this state; ``state`` and ``input`` tell both."""

    def __init__(
        self, state: Hashable, given: Hashable, standard: str = "", section: str = "", hint: int = 0
    ) -> None:
        super().__init__(standard, section, f"{_name(given)} in state {_name(state)}", hint=hint)
        self.state = state
        self.input = given


def advance(
    table: Mapping[tuple[State, Input], State],
    state: State,
    given: Input,
    *,
    standard: str = "",
    section: str = "",
    hint: int = 0,
) -> State:
    """The state after ``given``. Raises IllegalInput with standard, section and hint when there is none."""
    try:
        return table[state, given]
    except KeyError:
        raise IllegalInput(state, given, standard, section, hint) from None


def draw(table: Mapping[tuple[State, Input], State], start: State | None = None) -> str:
    """The table as a mermaid state diagram, for the docs. Inputs that lead the same way share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, given), after in table.items():
        arrows.setdefault((_name(state), _name(after)), []).append(_name(given))
    lines = ["stateDiagram-v2"]
    if start is not None:
        lines.append(f"    [*] --> {_name(start)}")
    lines += [f"    {before} --> {after}: {', '.join(names)}" for (before, after), names in arrows.items()]
    return "\n".join(lines) + "\n"


def _name(thing: object) -> str:
    return thing.name.lower() if isinstance(thing, Enum) else str(thing)
