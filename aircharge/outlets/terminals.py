"""The terminals that stand at an outlet: added, bound to merchant and module, blocked, signed out, moved."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from aircharge.ledger.chart import KEY_RETIRED
from aircharge.ledger.tables import metadata
from aircharge.ledger.terminals import NO_KEYS
from aircharge.outlets.desk import Desk, RegistryError, lock_registry_txn, open_row
from aircharge.outlets.telling import tell_outlet_txn

__all__ = [
    "TERMINAL_ACTIVE",
    "TERMINAL_BLOCKED",
    "Binding",
    "add_terminal_txn",
    "bind_terminal_txn",
    "block_terminal_txn",
    "check_terminal",
    "end_session",
    "move_terminal_txn",
    "sign_out_txn",
    "terminal_row",
    "terminal_sheet",
    "terminals_among",
    "terminals_of",
]

_terminal, _outlet = metadata.tables["terminal"], metadata.tables["outlet"]
_key, _session = metadata.tables["terminal_key"], metadata.tables["terminal_session"]
_offer = metadata.tables["terminal_offer"]
_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,15}")
_KIND: Final = re.compile(r"[a-z][a-z0-9-]{0,15}")
_DE_41: Final = re.compile(r"[A-Za-z0-9]{8}")  # ISO 8583: ans 8; signs would only be mistyped
_DE_42: Final = re.compile(r"[A-Za-z0-9]{15}")
_MODULE: Final = re.compile(r"[A-Za-z0-9]{16}")
TERMINAL_ACTIVE, TERMINAL_BLOCKED = 1, 2


@dataclass(frozen=True, slots=True)
class Binding:
    """What a terminal says of itself, and may do."""

    merchant: str  # DE 42
    module: str = ""  # security module (PSAM) of a fixed-line terminal
    rights: int = 3  # RIGHT_RECHARGE …, as of phones


def check_terminal(code: str, kind: str) -> None:
    """Raises RegistryError unless both have the right form."""
    if not _CODE.fullmatch(code):
        raise RegistryError(f"terminal {code!r}: 1 to 16 letters, digits, - and _")
    if not _KIND.fullmatch(kind):
        raise RegistryError(f"kind of terminal {kind!r}: 1 to 16 small letters, digits and -")


def add_terminal_txn(desk: Desk, code: str, terminal: str, kind: str = "pos") -> int:
    """Put a new terminal at an outlet; returns its number."""
    check_terminal(terminal, kind)
    outlet = open_row(desk.txn, code)
    lock_registry_txn(desk.txn)
    if desk.txn.execute(select(_terminal.c.id).where(_terminal.c.code == terminal)).first() is not None:
        raise RegistryError(f"terminal {terminal} exists already")
    number = int(desk.txn.execute(select(func.max(_terminal.c.id))).scalar() or 0) + 1
    values = {"id": number, "code": terminal, "outlet_id": outlet.id, "kind": kind}
    desk.txn.execute(insert(_terminal).values(**values, status=TERMINAL_ACTIVE, created_ms=desk.now_ms))
    desk.note("terminal.add", terminal, outlet=code, kind=kind)
    return number


def bind_terminal_txn(desk: Desk, terminal: str, form: Binding) -> bool:
    """Say which merchant and security module a terminal has; whether it is blocked until a second person lifts that.

    What changes who it is, ends its session. With a key it would sell on the outlet's float as another, or more than
    it could: no one person brings that about.
    """
    row = terminal_row(desk.txn, terminal)
    if not _DE_41.fullmatch(terminal):
        raise RegistryError(f"terminal {terminal}: a code on the wire (DE 41) has 8 letters and digits")
    if not _DE_42.fullmatch(form.merchant):
        raise RegistryError("a merchant's code (DE 42) has 15 letters and digits")
    if form.module and not _MODULE.fullmatch(form.module):
        raise RegistryError("a security module's number has 16 letters and digits")
    if not 1 <= form.rights <= 7:
        raise RegistryError("rights: recharge, query, admin in any choice")
    lock_registry_txn(desk.txn)
    other = select(_terminal.c.code).where(_terminal.c.module == form.module, _terminal.c.id != row.id)
    if form.module and (taken := desk.txn.execute(other).scalar()):
        raise RegistryError(f"that security module is in terminal {taken}")
    new = asdict(form)
    changed = {
        name: [row._mapping[name], value] for name, value in new.items() if row._mapping[name] != value
    }
    if not changed:
        raise RegistryError(f"terminal {terminal} is bound so already")
    gains = bool(form.rights & ~row.rights) or bool(changed.keys() & {"merchant", "module"})
    is_held = gains and bool(row.merchant) and _has_key(desk, row.id)
    status = TERMINAL_BLOCKED if is_held else row.status
    desk.txn.execute(update(_terminal).where(_terminal.c.id == row.id).values(**new, status=status))
    if changed.keys() & {"merchant", "module"} or is_held:
        end_session(desk, row.id)
    if row.merchant:
        tell_outlet_txn(desk, row.outlet_id, "terminal-bind", terminal)
    desk.note("terminal.bind", terminal, **changed, **({"blocked": True} if is_held else {}))
    return is_held


def _has_key(desk: Desk, terminal_id: int) -> bool:
    keys = select(_key.c.version).where(_key.c.terminal_id == terminal_id, _key.c.state != KEY_RETIRED)
    return desk.txn.execute(keys).first() is not None


def sign_out_txn(desk: Desk, terminal: str) -> None:
    """Take a terminal's working keys from it: it must sign in again."""
    if not end_session(desk, terminal_row(desk.txn, terminal).id):
        raise RegistryError(f"terminal {terminal} is not signed in")
    desk.note("terminal.sign-out", terminal, forced=True)


def end_session(desk: Desk, terminal_id: int) -> bool:
    """The working keys in use and those that are offered are gone. Whether there were any."""
    ended = end_offers(desk, terminal_id)
    is_open = (_session.c.terminal_id == terminal_id) & _session.c.mak_wrapped.is_not(None)
    values = {**NO_KEYS, "until_ms": desk.now_ms}
    return desk.txn.execute(update(_session).where(is_open).values(**values)).rowcount > 0 or ended


def end_offers(desk: Desk, terminal_id: int, key_version: int = 0) -> bool:
    """Working keys that are offered, under this master key or (0) under any, are gone. Whether there were any."""
    is_open = (_offer.c.terminal_id == terminal_id) & _offer.c.mak_wrapped.is_not(None)
    if key_version:
        is_open &= _offer.c.key_version == key_version
    return desk.txn.execute(update(_offer).where(is_open).values(**NO_KEYS)).rowcount > 0


def block_terminal_txn(desk: Desk, terminal: str, *, lift: bool = False) -> None:
    """Refuse a terminal whatever it asks for but a reversal that it owes, or lift that: then it signs in anew.

    The keys in use stay until then: under their MAC it is heard that a sale's answer was lost, for the cash may have
    gone back. Keys that are only offered are gone at once.
    """
    row = terminal_row(desk.txn, terminal)
    status = TERMINAL_ACTIVE if lift else TERMINAL_BLOCKED
    if row.status == status:
        raise RegistryError(f"terminal {terminal} is {'active' if lift else 'blocked'} already")
    desk.txn.execute(update(_terminal).where(_terminal.c.id == row.id).values(status=status))
    if lift:
        tell_outlet_txn(desk, row.outlet_id, "terminal-unblock", terminal)
        end_session(desk, row.id)
    else:
        end_offers(desk, row.id)
    desk.note("terminal.unblock" if lift else "terminal.block", terminal)


def move_terminal_txn(desk: Desk, terminal: str, code: str) -> bool:
    """A terminal now stands at another outlet; whether it is blocked until a second person lifts that.

    With a key it could sell on that outlet's float at once: no one person brings that about.
    """
    row = terminal_row(desk.txn, terminal)
    outlet = open_row(desk.txn, code)
    if outlet.id == row.outlet_id:
        raise RegistryError(f"terminal {terminal} stands at {code} already")
    before = desk.txn.execute(select(_outlet.c.code).where(_outlet.c.id == row.outlet_id)).scalar_one()
    has_key = _has_key(desk, row.id)
    status = TERMINAL_BLOCKED if has_key else row.status
    desk.txn.execute(
        update(_terminal).where(_terminal.c.id == row.id).values(outlet_id=outlet.id, status=status)
    )
    end_session(desk, row.id)
    if has_key:
        tell_outlet_txn(desk, row.outlet_id, "terminal-gone", terminal)
        tell_outlet_txn(desk, outlet.id, "terminal-new", terminal)
    desk.note("terminal.move", terminal, outlet=[before, code], **({"blocked": True} if has_key else {}))
    return has_key


def terminals_of(txn: Connection, outlet_id: int) -> list[dict[str, Any]]:
    found = select(_terminal).where(_terminal.c.outlet_id == outlet_id).order_by(_terminal.c.code)
    return [dict(row) for row in txn.execute(found).mappings()]


def terminals_among(txn: Connection, codes: Collection[str]) -> dict[str, Any]:
    """Rows of terminals by code, of those that are there."""
    found = select(_terminal).where(_terminal.c.code.in_(codes))
    return {row.code: row for row in txn.execute(found)}


def terminal_sheet(txn: Connection, terminal: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A terminal with its outlet's code and its session's numbers; and its keys without the keys."""
    row = terminal_row(txn, terminal)
    outlet = txn.execute(select(_outlet.c.code).where(_outlet.c.id == row.outlet_id)).scalar_one()
    found = txn.execute(select(_session).where(_session.c.terminal_id == row.id)).mappings().first()
    session: dict[str, Any] = dict(found) if found else {}
    numbers = {name: session.get(name, 0) for name in ("session", "batch", "signed_ms", "until_ms")}
    keys = select(_key).where(_key.c.terminal_id == row.id).order_by(_key.c.version)
    sheet = {**row._mapping, "outlet": outlet, **numbers, "signed_in": bool(session.get("mak_wrapped"))}
    shown = ("version", "kcv", "family", "state", "made_ms", "author")
    return sheet, [{name: key[name] for name in shown} for key in txn.execute(keys).mappings()]


def terminal_row(txn: Connection, terminal: str) -> Any:
    """Raises RegistryError when there is none."""
    row = txn.execute(select(_terminal).where(_terminal.c.code == terminal)).first()
    if row is None:
        raise RegistryError(f"no terminal {terminal}")
    return row
