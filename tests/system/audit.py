"""The audit at the end of every broken world: our ledger against the operator's own record.

It reads both databases with the bare drivers and shares no code with the product: a bug there cannot hide here.
"A zero-sum check proves almost nothing": the proof is the one-to-one match by reference and amount.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psycopg

__all__ = ["Audit", "audit", "audit_requests", "rows"]

REFUSED, HELD, SENT, IN_DOUBT, SETTLED, VOIDED, MANUAL, REVERSED, PARKED = range(9)
OPEN = (HELD, SENT, IN_DOUBT, MANUAL, PARKED)


@dataclass
class Audit:
    """What was found; ``problems`` is empty when nothing is wrong."""

    orders: int = 0
    settled: int = 0
    voided: int = 0
    refused: int = 0
    open: int = 0
    reversed: int = 0
    taken_back: int = 0  # by the operator
    credited: int = 0
    requests_credited: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not self.problems


class Wanted(Protocol):
    """What an outlet asked for once, in however many messages; each target is this request's alone."""

    kind: str
    phone: str
    targets: list[str]
    answered_ok: int


def audit(ledger: Path | str, operator: Path, *, open_allowed: int = 0) -> Audit:
    """Compare; ``open_allowed`` orders may still be honestly in doubt."""
    found = Audit()
    ours = rows(ledger, "SELECT op_ref, state, amount, msisdn, id FROM txn WHERE kind = 1")
    theirs = rows(operator, "SELECT op_ref, msisdn, amount_fen FROM credit WHERE amount_fen > 0")
    credited: dict[str, tuple[str, int]] = {}
    for reference, msisdn, amount in theirs:
        if reference in credited:
            found.problems.append(f"operator credited {reference} twice")
        credited[reference] = (msisdn, amount)
    found.credited = len(credited)
    taken_back = _taken_back(operator, credited, found)
    found.taken_back = len(taken_back)
    known = set()
    for reference, state, amount, msisdn, order in ours:
        found.orders += 1
        found.settled += state == SETTLED
        found.voided += state == VOIDED
        found.refused += state == REFUSED
        found.open += state in OPEN
        found.reversed += state == REVERSED
        if reference is None:
            continue
        known.add(reference)
        credit = credited.get(reference)
        is_kept = credit is not None and reference not in taken_back
        if state == REVERSED and (credit is None or is_kept):
            found.problems.append(f"order {order} is reversed, the operator did not take {reference} back")
        elif state == SETTLED and reference in taken_back:
            found.problems.append(f"order {order} is settled, the operator has taken {reference} back")
        elif state == SETTLED and credit is None:
            found.problems.append(f"order {order} settled, the operator never credited {reference}")
        elif is_kept and state in (VOIDED, REFUSED):
            found.problems.append(f"order {order} is void, the operator credited {reference}")
        elif credit is not None and credit != (msisdn, amount):
            found.problems.append(f"order {order}: the operator credited another number or amount")
    found.problems += [f"the operator credited {ref}, which we never held" for ref in credited.keys() - known]
    found.problems += _reversals(ledger, taken_back, found)
    if found.open > open_allowed:
        found.problems.append(f"{found.open} orders are not definite")
    found.problems += _books(ledger)
    return found


def _taken_back(operator: Path, credited: dict[str, tuple[str, int]], found: Audit) -> dict[str, str]:
    """What the operator has taken back, once and as it was given: original → reversal, by reference."""
    taken_back: dict[str, str] = {}
    for reference, original, msisdn, amount in rows(
        operator,
        "SELECT c.op_ref, o.original_ref, c.msisdn, -c.amount_fen FROM credit c "
        "JOIN outcome o ON o.op_ref = c.op_ref WHERE c.amount_fen < 0",
    ):
        if original in taken_back:
            found.problems.append(f"operator took {original} back twice")
        if credited.get(original) != (msisdn, amount):
            found.problems.append(f"operator took {original} back as it was never given")
        taken_back[original] = reference
    return taken_back


def _reversals(ledger: Path, taken_back: dict[str, str], found: Audit) -> list[str]:
    """Each reversal that is settled was done by the operator, and the reverse; the others are protective ones."""
    problems = []
    left = dict(taken_back)
    for order, reference, state, original in rows(
        ledger,
        "SELECT r.id, r.op_ref, r.state, o.op_ref FROM txn r JOIN txn o ON o.id = r.orig_txn "
        "WHERE r.kind = 2 AND r.op_ref IS NOT NULL AND o.kind = 1",  # transfers come back in the house
    ):
        found.open += state in OPEN
        is_done = taken_back.get(original) == reference
        if is_done:
            del left[original]
        if state == SETTLED and not is_done:
            problems.append(f"reversal {order} is settled, the operator did not do it")
        elif is_done and state in (VOIDED, REFUSED):
            problems.append(f"reversal {order} is void, the operator did it")
    for original, reference in left.items():
        if reference != f"{original[:-20]}R{original[-19:]}":
            problems.append(f"the operator took {original} back by {reference}, which we never asked for")
    return problems


def audit_requests(
    found: Audit, ledger: Path | str, operator: Path, requests: Iterable[Wanted], received: Mapping[str, int]
) -> None:
    """Against what the outlets wanted and the handsets got.

    A request is credited at most once, over all its messages and twins; one whose message was answered OK is in
    the ledger; everybody whose phone was recharged has an SMS.
    """
    credits = dict(rows(operator, "SELECT msisdn, count(*) FROM credit WHERE amount_fen > 0 GROUP BY msisdn"))
    written = {msisdn for (msisdn,) in rows(ledger, "SELECT DISTINCT msisdn FROM txn WHERE kind = 1")}
    counted = dict(rows(ledger, "SELECT phone, sum(n) FROM offence GROUP BY phone"))
    nonsense: dict[str, int] = {}
    known: set[str] = set()
    for request in requests:
        known.update(request.targets)
        times = sum(credits.get(target, 0) for target in request.targets)
        found.requests_credited += times > 0
        if times > 1:
            found.problems.append(f"a request ({request.kind}) was credited {times} times")
        if request.targets and request.answered_ok and not written.intersection(request.targets):
            found.problems.append(f"a message ({request.kind}) was answered OK and is not in the ledger")
        if request.kind == "nonsense" and request.answered_ok:
            nonsense[request.phone] = nonsense.get(request.phone, 0) + 1
    for phone, count in nonsense.items():
        if counted.get(phone, 0) < count:
            found.problems.append(
                f"{count} messages without sense were answered OK, {counted.get(phone, 0)} counted"
            )
    found.problems += ["somebody was credited whom nobody named" for _ in credits.keys() - known]
    settled = rows(ledger, "SELECT DISTINCT msisdn FROM txn WHERE kind = 1 AND state = 4")
    untold = sum(not received.get(msisdn, 0) for (msisdn,) in settled)
    if untold:
        found.problems.append(f"{untold} customers were recharged and got no SMS")


def _books(ledger: Path | str) -> list[str]:
    problems = []
    for account, posted, held, floor in rows(ledger, "SELECT account_id, posted, held, floor FROM balance"):
        [(journal,)] = rows(
            ledger,
            "SELECT coalesce(sum(CASE WHEN cr = ? THEN amount ELSE -amount END), 0) FROM journal "
            "WHERE cr = ? OR dr = ?",
            account,
            account,
            account,
        )
        [(holds,)] = rows(
            ledger,
            "SELECT coalesce(sum(cost), 0) FROM txn WHERE outlet_acct = ? AND kind <> 2 AND state IN (1, 2, 3, 6, 8)",
            account,
        )
        if posted != journal:
            problems.append(f"account {account}: balance {posted}, journal {journal}")
        if held != holds:
            problems.append(f"account {account}: held {held}, open orders {holds}")
        if posted - held < floor:
            problems.append(f"account {account}: below its floor")
    doubled = rows(ledger, "SELECT txn_id FROM journal GROUP BY txn_id, op HAVING count(*) > 1")
    problems += [f"order {order} posted twice" for (order,) in doubled]
    unposted = rows(
        ledger,
        "SELECT t.id FROM txn t LEFT JOIN journal j ON j.txn_id = t.id AND j.amount = t.cost "
        "WHERE t.kind = 1 AND (t.state IN (4, 7)) <> (j.jid IS NOT NULL)",
    )
    problems += [f"order {order}: its state and its posting disagree" for (order,) in unposted]
    silent = rows(
        ledger,
        "SELECT t.id FROM txn t WHERE t.kind = 1 AND t.state IN (4, 7) AND (SELECT count(*) FROM outbox o "
        "WHERE o.txn_id = t.id AND o.topic = 'customer.settled') <> 1",
    )
    problems += [f"order {order}: the customer is not told exactly once" for (order,) in silent]
    return problems


def rows(place: Path | str, sql: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
    """``place``: an SQLite file, or a PostgreSQL's URL."""
    if isinstance(place, str):
        with psycopg.connect(place.replace("+psycopg", "")) as server:
            return server.execute(sql.replace("?", "%s"), values).fetchall()  # type: ignore[call-overload]
    with sqlite3.connect(f"file:{place}?mode=ro", uri=True, timeout=30) as connection:
        return connection.execute(sql, values).fetchall()
