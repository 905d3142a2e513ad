"""Master keys come to terminals: brought by one person, compared by another, in use when the terminal signs in.

A request's payload has the keys sealed as they will stand in the book, and their check values in clear. A new version
waits (KEY_PENDING) until the terminal has shown that it has it (``ledger.terminals.UseSession``); until then the one
before is good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from aircharge.ledger.chart import KEY_ACTIVE, KEY_PENDING, KEY_RETIRED
from aircharge.ledger.tables import metadata
from aircharge.outlets.cards import KeyRing
from aircharge.outlets.desk import Desk, RegistryError
from aircharge.outlets.sheets import Fault
from aircharge.outlets.terminal_keys import TRANSPORTS, KeyLine, bound_master, check_key, kcv_of, with_parity
from aircharge.outlets.terminals import (
    block_terminal_txn,
    end_offers,
    end_session,
    terminal_row,
    terminals_among,
)

__all__ = [
    "INJECT",
    "OF_TERMINALS",
    "UNBLOCK",
    "KeyFaults",
    "check_free",
    "injection",
    "keys_asked",
    "retire_key_txn",
    "rewrap_txn",
    "standing",
]

INJECT: Final = "terminal.inject"
UNBLOCK: Final = "terminal.unblock"
_t = metadata.tables
_session = _t["terminal_session"]
_terminal, _key = _t["terminal"], _t["terminal_key"]
_REWRAPPED: Final = 500
"""Keys that are wrapped anew in one transaction: the daemon's writes wait for no more."""

Payload = Mapping[str, Any]


class KeyFaults(RegistryError):
    """Keys that cannot be taken: every fault with its line. Nothing has changed."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(f"{len(faults)} errors: nothing has changed")
        self.faults = sorted(faults)


def injection(
    txn: Connection,
    ring: KeyRing,
    lines: Sequence[KeyLine],
    *,
    maker: str,
    custodians: Sequence[str] = (),
    transport: tuple[str, bytes] | None = None,
    degenerate: bool = False,
) -> dict[str, Any]:
    """The request's payload for these keys, sealed. ``transport``: how and under what the lines' keys are wrapped;
    ``custodians``: who else has seen part of them, and so may not confirm. Raises KeyFaults.
    """
    terminals = terminals_among(txn, {line.terminal for line in lines})
    states = standing(txn, [row.id for row in terminals.values()])
    keys, sealed, faults = [], [], []
    taken: dict[bytes, str] = {}
    for line in lines:
        try:
            row = terminals.get(line.terminal)
            if row is None:
                raise RegistryError(f"no terminal {line.terminal}")
            check_free(states.get(row.id, {}), line.terminal, line.version)
            key = _checked(line, transport, degenerate)
            if taken.setdefault(key, line.terminal) != line.terminal or _is_known(txn, ring, key, line.kcv):
                raise RegistryError("another terminal has this key: each has its own")
            sealed.append(ring.seal(bound_master(row.id, line.version), key).hex())
            about = {"terminal": line.terminal, "version": line.version}
            keys.append({**about, "family": line.family, "kcv": line.kcv})
        except RegistryError as error:
            faults.append(Fault(line.number, "", str(error)))
    if faults:
        raise KeyFaults(faults)
    return {"keys": keys, "sealed": sealed, "maker": maker, "custodians": sorted(set(custodians) - {maker})}


def _checked(line: KeyLine, transport: tuple[str, bytes] | None, degenerate: bool) -> bytes:
    key = TRANSPORTS[transport[0]](transport[1], line.key) if transport else line.key
    check_key(key, line.family, degenerate=degenerate)
    if (kcv := kcv_of(key, line.family)) != line.kcv:
        raise RegistryError(f"the key's check value is {kcv}, not {line.kcv}")
    return with_parity(key, line.family)


def _is_known(txn: Connection, ring: KeyRing, key: bytes, kcv: str) -> bool:
    found = select(_key.c.terminal_id, _key.c.version, _key.c.wrapped).where(
        _key.c.kcv == kcv, _key.c.state != KEY_RETIRED
    )
    return any(
        ring.open(bound_master(row.terminal_id, row.version), bytes(row.wrapped)) == key
        for row in txn.execute(found)
    )


def standing(txn: Connection, numbers: Sequence[int]) -> dict[int, dict[int, int]]:
    """States of keys by terminal and version."""
    found: dict[int, dict[int, int]] = {}
    for row in txn.execute(select(_key).where(_key.c.terminal_id.in_(numbers))):
        found.setdefault(row.terminal_id, {})[row.version] = row.state
    return found


def check_free(versions: Mapping[int, int], terminal: str, version: int) -> None:
    """Raises RegistryError: the version was there once, or another one waits."""
    if version in versions:
        raise RegistryError(f"terminal {terminal} has had a key of version {version}")
    waiting = [number for number, state in versions.items() if state == KEY_PENDING]
    if waiting:
        raise RegistryError(f"version {waiting[0]} waits for terminal {terminal}: retire it first")


def _inject(desk: Desk, payload: Payload, _tools: object) -> str:
    if desk.actor in payload["custodians"]:
        raise RegistryError(f"{desk.actor} has brought a part of these keys: another person confirms them")
    maker, keys = payload["maker"], payload["keys"]
    terminals = terminals_among(desk.txn, {key["terminal"] for key in keys})
    states = standing(desk.txn, [row.id for row in terminals.values()])
    for key, sealed in zip(keys, payload["sealed"], strict=True):
        row = terminals.get(key["terminal"])
        if row is None:
            raise RegistryError(f"no terminal {key['terminal']}")
        check_free(states.setdefault(row.id, {}), row.code, key["version"])
        states[row.id][key["version"]] = KEY_PENDING
        values = {name: key[name] for name in ("version", "family", "kcv")}
        values |= {"terminal_id": row.id, "wrapped": bytes.fromhex(sealed), "state": KEY_PENDING}
        author = maker if maker == desk.actor else f"{maker}+{desk.actor}"
        desk.txn.execute(insert(_key).values(**values, made_ms=desk.now_ms, author=author))
        desk.note("terminal.key", row.code, version=key["version"], family=key["family"], kcv=key["kcv"])
    said = ", ".join(f"{key['terminal']} {key['version']} {key['kcv']}" for key in keys[:5])
    return f"{len(keys)} keys wait for their terminals: {said}{' …' if len(keys) > 5 else ''}"


def _unblock(desk: Desk, payload: Payload, _tools: object) -> str:
    block_terminal_txn(desk, payload["terminal"], lift=True)
    return f"terminal {payload['terminal']} is active"


OF_TERMINALS: Final[dict[str, Callable[[Desk, Payload, Any], str]]] = {
    INJECT: _inject,  # keys, sealed, maker, custodians
    UNBLOCK: _unblock,  # terminal
}
"""Rows of ``requests.KINDS``."""


def retire_key_txn(desk: Desk, terminal: str, version: int) -> None:
    """A key is good for nothing any more, and is destroyed; of the one in use the session ends too.

    Raises RegistryError: no such key, retired already.
    """
    row = terminal_row(desk.txn, terminal)
    here = (_key.c.terminal_id == row.id) & (_key.c.version == version)
    state = desk.txn.execute(select(_key.c.state).where(here)).scalar()
    if state is None or state == KEY_RETIRED:
        raise RegistryError(f"terminal {terminal} has no key of version {version} that could be retired")
    gone = update(_key).where(here, _key.c.state == state).values(state=KEY_RETIRED, wrapped=b"")
    if desk.txn.execute(gone).rowcount != 1:
        raise RegistryError(f"terminal {terminal} signed in just now: try again")
    if state == KEY_ACTIVE:
        desk.txn.execute(update(_terminal).where(_terminal.c.id == row.id).values(key_version=0))
    end_offers(desk, row.id, version)
    begun_under = select(_session.c.key_version).where(_session.c.terminal_id == row.id)
    if state == KEY_ACTIVE or desk.txn.execute(begun_under).scalar() == version:
        end_session(desk, row.id)
    desk.note("terminal.key-retire", terminal, version=version)


def rewrap_txn(desk: Desk, ring: KeyRing, after: tuple[int, int] = (0, 0)) -> tuple[int, tuple[int, int]]:
    """Wrap the next keys behind (terminal's number, version) under the newest KEK; how many, and the last of them.

    Raises KeyRingError when the ring has no longer the KEK of one of them: none of these has changed.
    """
    c = _key.c
    behind = (c.terminal_id > after[0]) | (c.terminal_id == after[0]) & (c.version > after[1])
    found = select(_key).where(behind, c.wrapped != b"").order_by(c.terminal_id, c.version).limit(_REWRAPPED)
    rows = desk.txn.execute(found.with_for_update()).all()
    for row in rows:
        bound = bound_master(row.terminal_id, row.version)
        here = (c.terminal_id == row.terminal_id) & (c.version == row.version)
        wrapped = ring.seal(bound, ring.open(bound, bytes(row.wrapped)))
        desk.txn.execute(update(_key).where(here).values(wrapped=wrapped))
    if not rows:
        return 0, after
    desk.note("terminal.keys-rewrapped", "", keys=len(rows))
    return len(rows), (rows[-1].terminal_id, rows[-1].version)


def keys_asked(payload: Payload) -> list[dict[str, Any]]:
    """What the second person compares."""
    return [dict(key) for key in payload.get("keys", ())]
