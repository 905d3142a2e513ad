"""Leases: which daemons live, and which of them holds an operator's line. Plain SQL; all times are the database's.

A daemon takes its node's lease at its start, under a new epoch, and renews it. Every batch it writes proves that epoch
(``tenure``), so that whoever was taken for dead and was not can write nothing any more. A lease that ran out may be
renewed as long as nobody has taken it over: taking over is what changes the epoch.

On SQLite there is one daemon: another's lease must have ended before this one takes its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, text

from aircharge.errors import LedgerError
from aircharge.ledger.tenure import Fenced, LeaseOver, Tenure

__all__ = [
    "Adopted",
    "Lease",
    "LeaseSettings",
    "Occupied",
    "adopt_txn",
    "leases",
    "line_key",
    "own_txn",
    "release_txn",
    "renew_txn",
    "take_lines_txn",
    "take_txn",
]

IsRunning = Callable[[str], bool]
"""Whether the process that a lease's ``host`` names still runs; True when that cannot be told."""


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """How long a lease lasts. Half a ``ttl_s`` must be enough for a renewal that is late."""

    ttl_s: float = 10.0
    renew_s: float = 3.0
    quiet_s: float = 3.0  # by its own clock a daemon stops so long before its lease ends

    def __post_init__(self) -> None:
        if not 0 < self.renew_s < self.ttl_s - self.quiet_s:
            raise ValueError("renew_s must be shorter than ttl_s less quiet_s")

    @property
    def ttl_ms(self) -> int:
        return int(self.ttl_s * 1000)


@dataclass(frozen=True, slots=True)
class Lease:
    """A node's."""

    node: int
    epoch: int
    host: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Adopted:
    """Open orders that are ours now."""

    orders: tuple[int, ...] = ()  # of daemons that are dead: they count as sent
    nodes: tuple[int, ...] = ()  # whose lease was taken over


class Occupied(LedgerError):
    """Another daemon holds the lease; it may end at ``until_ms``."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(f"node {lease.node} runs already: {lease.host}")
        self.until_ms = lease.expires_ms


def line_key(operator_id: int, agent_id: str, link_id: str) -> str:
    """What a line is known by: the operator, and who we are to him. At most 32 characters."""
    name = f"{operator_id}.{agent_id}.{link_id}"
    return name if len(name) <= 32 else hashlib.sha256(name.encode()).hexdigest()[:32]


def leases(txn: Connection) -> list[Lease]:
    """All of them, dead ones too."""
    found = txn.execute(text("SELECT node, epoch, host, expires_ms FROM node_lease ORDER BY node"))
    return [Lease(*row) for row in found]


# -- one's own --------------------------------------------------------------------------------------------


def take_txn(
    txn: Connection, now_ms: int, node: int, host: str, ttl_ms: int, is_running: IsRunning
) -> Tenure:
    """Begin a new epoch. Raises Occupied while a process that may be alive holds what we need for ourselves."""
    is_alone = txn.dialect.name == "sqlite"
    epoch = 0
    for lease in _locked(txn, node):
        is_mine = lease.node == node
        if lease.expires_ms > now_ms and is_running(lease.host):
            raise Occupied(lease)
        epoch = lease.epoch if is_mine else epoch
    values = {"node": node, "epoch": epoch + 1, "host": host[:64], "now": now_ms, "until": now_ms + ttl_ms}
    if epoch:
        change = "UPDATE node_lease SET epoch = :epoch, host = :host, beat_ms = :now, expires_ms = :until"
        txn.execute(text(f"{change} WHERE node = :node"), values)
    else:
        row = "INSERT INTO node_lease (node, epoch, host, beat_ms, expires_ms)"
        txn.execute(text(f"{row} VALUES (:node, :epoch, :host, :now, :until)"), values)
    if is_alone:  # whoever wrote here before is dead, or shall know that he is
        others = "UPDATE node_lease SET epoch = epoch + 1, expires_ms = 0 WHERE node <> :node"
        txn.execute(text(others), values)
    return Tenure(node, epoch + 1)


def _locked(txn: Connection, node: int) -> list[Lease]:
    """The leases that matter to a daemon that starts, kept from change until the commit."""
    mine = " WHERE node = :node FOR UPDATE" if txn.dialect.name == "postgresql" else ""
    question = f"SELECT node, epoch, host, expires_ms FROM node_lease{mine}"
    return [Lease(*row) for row in txn.execute(text(question), {"node": node} if mine else {})]


def renew_txn(txn: Connection, now_ms: int, tenure: Tenure, ttl_ms: int) -> None:
    """Raises Fenced when it was taken over. Other columns than the key: batches under way do not hinder it."""
    change = "UPDATE node_lease SET beat_ms = :now, expires_ms = :until WHERE node = :node AND epoch = :epoch"
    values = {"now": now_ms, "until": now_ms + ttl_ms, "node": tenure.node, "epoch": tenure.epoch}
    if txn.execute(text(change), values).rowcount != 1:
        raise Fenced(tenure)


def release_txn(txn: Connection, tenure: Tenure) -> None:
    """At an orderly end: others need not wait until it runs out."""
    values = {"node": tenure.node, "epoch": tenure.epoch}
    change = "UPDATE node_lease SET expires_ms = 0 WHERE node = :node AND epoch = :epoch"
    if txn.execute(text(change), values).rowcount == 1:
        txn.execute(text("UPDATE link_lease SET expires_ms = 0 WHERE node = :node"), values)


# -- operators' lines -------------------------------------------------------------------------------------


def take_lines_txn(
    txn: Connection, now_ms: int, tenure: Tenure, lines: Iterable[str], ttl_ms: int, *, calm: bool = False
) -> set[str]:
    """Renew the lines we hold and take those that nobody holds; returns all that are ours.

    The daemon whose line is taken loses its own lease with it: whatever it does not know yet, it writes no more.
    ``calm``: a lease that ran out is left alone, its holder may have had no database to renew it in.
    """
    held = set()
    for line in sorted(set(lines)):
        place = {"line": line, "node": tenure.node, "now": now_ms, "until": now_ms + ttl_ms}
        txn.execute(text("INSERT INTO link_lease (link_id) VALUES (:line) ON CONFLICT DO NOTHING"), place)
        lock = " FOR UPDATE" if txn.dialect.name == "postgresql" else ""
        question = f"SELECT node, expires_ms FROM link_lease WHERE link_id = :line{lock}"
        holder, expires_ms = txn.execute(text(question), place).one()
        if holder not in (None, tenure.node):
            if expires_ms > now_ms:
                continue
            if expires_ms and (calm or not _fence(txn, now_ms, holder)):
                continue  # its batch is under way, or it could not renew: the next round
        change = "UPDATE link_lease SET node = :node, epoch = :epoch, expires_ms = :until"
        txn.execute(text(f"{change} WHERE link_id = :line"), {**place, "epoch": tenure.epoch})
        held.add(line)
    return held


def _fence(txn: Connection, now_ms: int, node: int) -> bool:
    """Take a dead node's lease over: a new epoch that is nobody's. False while its batch is under way.

    A node that is alive and no longer renews a line does not use it: there is nothing to take from it.
    """
    dead = {"node": node, "now": now_ms}
    question = "SELECT 1 FROM node_lease WHERE node = :node AND expires_ms <= :now"
    if txn.execute(text(question), dead).first() is None:
        return True
    lock = " FOR UPDATE SKIP LOCKED" if txn.dialect.name == "postgresql" else ""
    if txn.execute(text(f"{question}{lock}"), dead).first() is None:
        return False
    txn.execute(text("UPDATE node_lease SET epoch = epoch + 1 WHERE node = :node"), dead)
    return True


# -- adoption ---------------------------------------------------------------------------------------------

_OPEN = "state IN (1, 2, 3)"


def adopt_txn(
    txn: Connection, now_ms: int, tenure: Tenure, operators: Sequence[int], *, calm: bool = False
) -> Adopted:
    """Make the open orders of dead daemons ours, for the operators whose lines we hold; of a desk's as well.

    Orders of somebody without a lease (a desk) are not sent yet: they only change hands. The rest counts as sent.
    ``calm``: only from those who gave their lease back or lost it; one that merely ran out is left alone.
    """
    _stand(txn, now_ms, tenure)
    owners = text(f"SELECT DISTINCT owner_node FROM txn WHERE {_OPEN} AND owner_node <> :node")
    known = {lease.node: lease for lease in leases(txn)}
    orders: list[int] = []
    nodes = []
    for (owner,) in txn.execute(owners, {"node": tenure.node}).all():
        lease = known.get(owner)
        if lease is None:
            _relabel(txn, tenure, owner, operators)
        elif lease.expires_ms <= (0 if calm else now_ms) and _fence(txn, now_ms, owner):
            mine = _relabel(txn, tenure, owner, operators)
            orders += mine
            nodes += [owner] if mine else []
    return Adopted(tuple(orders), tuple(nodes))


def own_txn(txn: Connection, tenure: Tenure) -> None:
    """Our own open orders of earlier epochs are this one's."""
    change = f"UPDATE txn SET owner_epoch = :epoch WHERE owner_node = :node AND {_OPEN}"
    txn.execute(text(change), {"node": tenure.node, "epoch": tenure.epoch})


def _stand(txn: Connection, now_ms: int, tenure: Tenure) -> None:
    """Whoever adopts is alive himself until the commit. Raises Fenced, LeaseOver."""
    lock = " FOR KEY SHARE" if txn.dialect.name == "postgresql" else ""
    question = f"SELECT expires_ms FROM node_lease WHERE node = :node AND epoch = :epoch{lock}"
    until_ms = txn.execute(text(question), {"node": tenure.node, "epoch": tenure.epoch}).scalar()
    if until_ms is None:
        raise Fenced(tenure)
    if until_ms <= now_ms:
        raise LeaseOver(tenure, now_ms - until_ms)


def _relabel(txn: Connection, tenure: Tenure, owner: int, operators: Sequence[int]) -> list[int]:
    """Orders that another transaction is about to change are left for the next round."""
    lock = " FOR UPDATE SKIP LOCKED" if txn.dialect.name == "postgresql" else ""
    values = {
        "owner": owner,
        "node": tenure.node,
        "epoch": tenure.epoch,
        "operators": list(operators) or [-1],
    }
    change = text(
        f"""UPDATE txn SET owner_node = :node, owner_epoch = :epoch WHERE id IN (
        SELECT id FROM txn WHERE owner_node = :owner AND {_OPEN} AND operator_id IN :operators
        ORDER BY id{lock}) RETURNING id"""
    ).bindparams(bindparam("operators", expanding=True))
    return sorted(number for (number,) in txn.execute(change, values))
