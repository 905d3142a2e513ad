"""Master keys in two or three components, each brought by a person of its own; and keys made here.

Components wait sealed in the book, for no longer than a request; the last one makes the key, and all are deleted.
The key then is a request like any other (``terminal_injection``): none of the custodians may confirm it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select

from aircharge.ledger.asked import LIFE_MS
from aircharge.ledger.tables import metadata
from aircharge.outlets.cards import KeyRing
from aircharge.outlets.desk import Desk, RegistryError
from aircharge.outlets.sheets import Fault
from aircharge.outlets.terminal_injection import KeyFaults, check_free, standing
from aircharge.outlets.terminal_keys import (
    FAMILIES,
    KeyLine,
    bound_component,
    check_component,
    combined,
    kcv_of,
    with_parity,
)
from aircharge.outlets.terminals import terminal_row, terminals_among

__all__ = [
    "Complete",
    "PartOf",
    "components_of",
    "enter_components_txn",
    "forget_components_txn",
    "made_keys",
]

_part, _key = metadata.tables["key_component"], metadata.tables["terminal_key"]
_PARTS: Final = (2, 3)


@dataclass(frozen=True, slots=True)
class PartOf:
    """Which component of how many. Raises RegistryError."""

    number: int
    parts: int

    def __post_init__(self) -> None:
        if self.parts not in _PARTS or not 1 <= self.number <= self.parts:
            raise RegistryError("a key has two or three components, numbered from 1")


@dataclass(frozen=True, slots=True)
class Complete:
    """Keys whose last component has come, and who brought the others."""

    lines: tuple[KeyLine, ...] = ()
    custodians: tuple[str, ...] = ()


def enter_components_txn(desk: Desk, ring: KeyRing, lines: Sequence[KeyLine], part: PartOf) -> Complete:
    """Take one person's components, each with its own check value, all or nothing. Raises KeyFaults."""
    desk.txn.execute(delete(_part).where(_part.c.made_ms < desk.now_ms - LIFE_MS))
    terminals = terminals_among(desk.txn, {line.terminal for line in lines})
    states = standing(desk.txn, [row.id for row in terminals.values()])
    done, custodians, faults = [], set(), []
    for line in lines:
        try:
            row = terminals.get(line.terminal)
            if row is None:
                raise RegistryError(f"no terminal {line.terminal}")
            check_free(states.get(row.id, {}), line.terminal, line.version)
            key, others = _enter(desk, ring, row.id, line, part)
            if key is not None:
                done.append(replace(line, key=key, kcv=kcv_of(key, line.family)))
                custodians |= others
        except RegistryError as error:
            faults.append(Fault(line.number, "", str(error)))
    if faults:
        raise KeyFaults(faults)
    return Complete(tuple(done), tuple(sorted(custodians)))


def _enter(
    desk: Desk, ring: KeyRing, terminal_id: int, line: KeyLine, part: PartOf
) -> tuple[bytes | None, set[str]]:
    """The key and the others' names when this was the last component, else None."""
    check_component(line.key, line.family)
    if (kcv := kcv_of(line.key, line.family)) != line.kcv:
        raise RegistryError(f"the component's check value is {kcv}, not {line.kcv}")
    here = (_part.c.terminal_id == terminal_id) & (_part.c.version == line.version)
    others = desk.txn.execute(select(_part).where(here).with_for_update()).all()
    if any(other.part == part.number for other in others):
        raise RegistryError(f"component {part.number} is there already")
    if any(other.custodian == desk.actor for other in others):
        raise RegistryError(f"{desk.actor} has brought another component of this key: no one has two")
    if any((other.parts, other.family) != (part.parts, line.family) for other in others):
        raise RegistryError(f"it was begun as {others[0].family} in {others[0].parts} components")
    desk.note("terminal.component", line.terminal, version=line.version, part=part.number, kcv=line.kcv)
    if len(others) + 1 < part.parts:
        values: dict[str, Any] = {"terminal_id": terminal_id, "version": line.version, "part": part.number}
        values |= {"parts": part.parts, "family": line.family, "kcv": line.kcv, "custodian": desk.actor}
        sealed = ring.seal(bound_component(terminal_id, line.version, part.number), line.key)
        desk.txn.execute(insert(_part).values(**values, sealed=sealed, made_ms=desk.now_ms))
        return None, set()
    opened = [
        ring.open(bound_component(terminal_id, line.version, other.part), bytes(other.sealed))
        for other in others
    ]
    desk.txn.execute(delete(_part).where(here))
    return combined([*opened, line.key]), {other.custodian for other in others}


def forget_components_txn(desk: Desk, terminal: str, version: int) -> int:
    """Throw away what has come of a key so far; how many components they were."""
    row = terminal_row(desk.txn, terminal)
    here = (_part.c.terminal_id == row.id) & (_part.c.version == version)
    gone = desk.txn.execute(delete(_part).where(here)).rowcount
    if gone:
        desk.note("terminal.components-forgotten", terminal, version=version, components=gone)
    return gone


def made_keys(
    txn: Connection,
    terminals: Sequence[str],
    family: str,
    octets: int,
    parts: int,
    token: Callable[[int], bytes],
) -> tuple[list[KeyLine], list[list[KeyLine]]]:
    """New random keys in each terminal's next version; and their components, by part. ``token``: unpredictable octets.

    Raises RegistryError: no such terminal, named twice, no version left, no such length.
    """
    if octets not in FAMILIES.get(family, ()):
        raise RegistryError(f"no {family} keys of {octets} octets")
    part = PartOf(1, parts)
    if len(set(terminals)) != len(terminals):
        raise RegistryError("a terminal is named twice")
    keys: list[KeyLine] = []
    components: list[list[KeyLine]] = [[] for _ in range(part.parts)]
    for number, code in enumerate(terminals, 2):
        last = select(func.max(_key.c.version)).where(_key.c.terminal_id == terminal_row(txn, code).id)
        version = int(txn.execute(last).scalar() or 0) + 1
        if version > 255:
            raise RegistryError(f"terminal {code} has had 255 keys")
        pieces = [with_parity(token(octets), family) for _ in range(parts)]
        for of_part, piece in zip(components, pieces, strict=True):
            of_part.append(KeyLine(number, code, version, family, kcv_of(piece, family), piece))
        key = combined(pieces)
        keys.append(KeyLine(number, code, version, family, kcv_of(key, family), key))
    return keys, components


def components_of(txn: Connection, terminal: str) -> list[dict[str, Any]]:
    """Components of a terminal's next key that wait for the others."""
    found = select(_part).where(_part.c.terminal_id == terminal_row(txn, terminal).id)
    shown = ("version", "part", "parts", "kcv", "custodian")
    return [
        {name: row[name] for name in shown} for row in txn.execute(found.order_by(_part.c.part)).mappings()
    ]
