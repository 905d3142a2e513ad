"""The registry's desk: one piece of work in somebody's name, and what every room of it asks first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, func, select

from aircharge.errors import AirchargeError, Refusal
from aircharge.ledger.audit import append_audit_txn
from aircharge.ledger.chart import OUTLET_CLOSED
from aircharge.ledger.tables import metadata
from aircharge.values import address_digits

__all__ = [
    "Desk",
    "RegistryError",
    "RegistrySettings",
    "digits_of",
    "lock_registry_txn",
    "open_row",
    "outlet_row",
]

_outlet = metadata.tables["outlet"]
_REGISTRY_LOCK: Final = 0x41435247  # "ACRG"


class RegistryError(AirchargeError):
    """What was asked of the registry cannot be: the message says why."""


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """The registry's numbers."""

    phones_max: int = 10  # numbers of one outlet that may be in use at a time
    sim_wait_ms: int = 86_400_000  # a replaced SIM may not order before this, unless two people let it
    phone_wait_ms: int = 86_400_000  # a number bound to an outlet that is there already, likewise
    file_lines_max: int = 50_000  # outlets in one imported file
    file_octets_max: int = 20_000_000

    def __post_init__(self) -> None:
        if (
            min(self.phones_max, self.file_lines_max, self.file_octets_max) < 1
            or min(self.sim_wait_ms, self.phone_wait_ms) < 0
        ):
            raise ValueError("registry: numbers must be more than nothing")


@dataclass(frozen=True, slots=True)
class Desk:
    """One piece of work: transaction, time and the person whose name it bears."""

    txn: Connection
    now_ms: int
    actor: str
    settings: RegistrySettings = field(default_factory=RegistrySettings)
    node: int = 1023  # notices that the desk queues bear its ids
    service: str = "0353910"  # the number these notices come from

    def note(self, action: str, thing: str, **detail: Any) -> None:
        append_audit_txn(self.txn, self.now_ms, self.actor, action, thing, detail)


def outlet_row(txn: Connection, code: str) -> Any:
    """The row of ``outlet``. Raises RegistryError when there is none."""
    row = txn.execute(select(_outlet).where(_outlet.c.code == code)).first()
    if row is None:
        raise RegistryError(f"no outlet {code}")
    return row


def open_row(txn: Connection, code: str) -> Any:
    """The row of an outlet that is not closed. Raises RegistryError."""
    row = outlet_row(txn, code)
    if row.status >= OUTLET_CLOSED:
        raise RegistryError(f"outlet {code} is closed")
    return row


def digits_of(number: str) -> str:
    """National digits of a phone number as people write it. Raises RegistryError."""
    try:
        return address_digits(number)
    except Refusal as refusal:
        raise RegistryError("that is no phone number") from refusal


def lock_registry_txn(txn: Connection) -> None:
    """Until the commit nobody else adds outlets or moves them: what the tree looks like stays so.

    SQLite's writing transaction has locked the whole file already.
    """
    if txn.dialect.name == "postgresql":
        txn.execute(select(func.pg_advisory_xact_lock(_REGISTRY_LOCK)))
