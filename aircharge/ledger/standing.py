"""Whether a ledger may be opened with these keys, and at all: check values of the keys, and the mark of a restore.

A check value is eight octets of an HMAC under the key: it tells keys apart and tells nothing of them.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, Engine, delete, insert, select, update

from aircharge.errors import LedgerError
from aircharge.ledger.tables import metadata

__all__ = [
    "accept_keys_txn",
    "check_keys_txn",
    "check_standing",
    "check_value",
    "mark_restored_txn",
    "reconciled_txn",
    "wrong_keys",
]

_key, _restored = metadata.tables["key_check"], metadata.tables["restored"]
_FILE_OF: Final = {
    "pepper": "secrets.pepper_file",
    "checkcode": "secrets.checkcode_file",
    "card-master": "secrets.card_master_file",
    "kek": "secrets.kek_file or secrets.kek_old",
}


def check_value(name: str, key: bytes) -> bytes:
    """Eight octets."""
    return hmac.digest(key, b"aircharge key check " + name.encode(), "sha256")[:8]


def wrong_keys(known: Mapping[str, bytes], given: Mapping[str, bytes]) -> list[str]:
    """A sentence for each key that is not the one the ledger was written with."""
    wrong = []
    for name, value in sorted(known.items()):
        file = _FILE_OF.get(name.partition(".")[0], name)
        if name not in given:
            wrong.append(f"{file}: the ledger was written with key {name}, which the configuration lacks")
        elif not hmac.compare_digest(given[name], value):
            wrong.append(f"{file}: this is not the key {name} that the ledger was written with")
    return wrong


def _known(txn: Connection) -> dict[str, bytes]:
    return {row.name: bytes(row.value) for row in txn.execute(select(_key.c.name, _key.c.value))}


def check_keys_txn(txn: Connection, given: Mapping[str, bytes]) -> None:
    """Raises LedgerError when a key is another's: every PIN, card or code would be refused."""
    if wrong := wrong_keys(_known(txn), given):
        cure = "put the right file in its place (docs/operations.md), or two people: aircharge key accept"
        raise LedgerError("; ".join([*wrong, cure]))


def _check_restored_txn(txn: Connection) -> None:
    waiting = select(_restored.c.backup_ms).where(_restored.c.reconciled_ms.is_(None))
    backup_ms = txn.execute(waiting).scalar()
    if backup_ms is not None:
        at = datetime.fromtimestamp(backup_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        raise LedgerError(
            f"this ledger was restored from a backup of {at}: what came after it is unknown here. "
            "Reconcile it with the operators' record, then two people: aircharge reconciled --evidence WHERE"
        )


def check_standing(engine: Engine, given: Mapping[str, bytes], now_ms: int | None = None) -> None:
    """Raises LedgerError unless keys and restore allow the doors to open.

    With ``now_ms``, a key that the ledger does not know yet (a new version, a ledger made before check values) is
    noted; without, nothing is written.
    """
    with engine.connect() as txn:
        check_keys_txn(txn, given)
        _check_restored_txn(txn)
        missing = sorted(set(given) - set(_known(txn)))
    if missing and now_ms is not None:
        with engine.execution_options(immediate=True).begin() as txn:
            _note(txn, {name: given[name] for name in missing if name not in _known(txn)}, now_ms)


def _note(txn: Connection, values: Mapping[str, bytes], now_ms: int) -> None:
    rows = [{"name": name, "value": value, "made_ms": now_ms} for name, value in values.items()]
    if rows:
        txn.execute(insert(_key), rows)


def accept_keys_txn(txn: Connection, values: Mapping[str, bytes], now_ms: int) -> None:
    """From now on these are the ledger's keys: what was written under others stays closed."""
    txn.execute(delete(_key))
    _note(txn, values, now_ms)


def mark_restored_txn(txn: Connection, backup_ms: int, now_ms: int) -> None:
    """The doors stay shut until people say that it was reconciled."""
    number = len(txn.execute(select(_restored.c.id)).all()) + 1
    txn.execute(insert(_restored).values(id=number, backup_ms=backup_ms, restored_ms=now_ms))


def reconciled_txn(txn: Connection, now_ms: int) -> bool:
    """The doors may open again; False when nothing waited for it."""
    waiting = _restored.c.reconciled_ms.is_(None)
    return bool(txn.execute(update(_restored).where(waiting).values(reconciled_ms=now_ms)).rowcount)
