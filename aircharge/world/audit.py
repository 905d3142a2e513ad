"""The audit after a world: our book against the operator's record, what customers were told, and what the log holds.

Every rule here is one that an accountant or a customer would name; none looks at how the daemon came to it.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from aircharge.ledger.chart import CANCEL_STANDS, CANCEL_WANTED
from aircharge.ledger.dialect import open_engine
from aircharge.ledger.verify import verify
from aircharge.values import Operation, State
from aircharge.world.plan import LIMIT_COUNT, LIMITED, PIN, WRONG_PIN
from aircharge.world.world import Asked, World

__all__ = ["audit"]

_NUMBER: Final = re.compile(r"(?<![0-9.])(?:86)?1[3-9][0-9]{9}(?![0-9])")
_PINS: Final = re.compile(rf"(?<![0-9.])(?:{PIN}|{WRONG_PIN})(?![0-9])")
_DOUBTFUL: Final = (State.IN_DOUBT, State.MANUAL)
_REPEATING: Final = (
    "crash",
    "commit",
    "cut",
    "half-open",
    "pause",
    "standby",
    "orderly",
    "slow",
    "disk",
    "texts",
    "pieces",
)
"""Faults after which a text may come twice: its SMS centre's answer was lost (docs/decisions/0004)."""


def audit(world: World) -> list[str]:
    """What is wrong, a sentence each; empty when all is well."""
    db = sqlite3.connect(world.ledger_file)
    db.row_factory = sqlite3.Row
    try:
        book = _Book(db, world)
        found = [f"a bug: {bug}" for bug in world.bugs]
        for rule in (
            _sound,
            _orders,
            _record,
            _requests,
            _limits,
            _locks,
            _notices,
            _texts,
            _recovered,
            _tills,
            _logs,
        ):
            found += rule(book, world)
    finally:
        db.close()
    return found


class _Book:
    """The ledger and the operator's record, read once."""

    def __init__(self, db: sqlite3.Connection, world: World) -> None:
        self.db = db
        self.orders = db.execute("SELECT * FROM txn ORDER BY id").fetchall()
        self.codes = dict(
            db.execute(
                "SELECT a.id, o.code FROM account a JOIN outlet o ON o.id = a.owner_id WHERE a.kind = 2"
            ).fetchall()
        )
        record = world.operator.record._db
        self.credits: dict[str, list[tuple[str, int]]] = {}
        for op_ref, msisdn, fen in record.execute(
            "SELECT op_ref, msisdn, amount_fen FROM credit ORDER BY id"
        ):
            self.credits.setdefault(op_ref, []).append((msisdn, fen))
        self.originals: dict[str, str] = dict(
            record.execute(
                "SELECT op_ref, original_ref FROM outcome WHERE kind = 'reverse' AND code = '0000'"
            )
        )
        fates = record.execute("SELECT op_ref, fate FROM attempt").fetchall()
        self.perhaps_taken_back = {row["orig_txn"] for row in self.orders if row["state"] in _DOUBTFUL}
        self.lied_about = {op_ref for op_ref, fate in fates if fate == "contradict"}
        by_id = {row["id"]: row["op_ref"] for row in self.orders}
        self.lied_about |= {
            by_id[row["orig_txn"]]
            for row in self.orders
            if row["orig_txn"] and row["op_ref"] in self.lied_about
        }

    def net(self, op_ref: str) -> int:
        """What the operator has credited under a recharge's reference and not taken back, in fen."""
        taken = [
            sum(fen for _, fen in self.credits[one]) for one, of in self.originals.items() if of == op_ref
        ]
        return sum(fen for _, fen in self.credits.get(op_ref, ())) + sum(taken)

    def of_target(self, target: str) -> list[Any]:
        return [row for row in self.orders if row["msisdn"] == target and row["kind"] == Operation.RECHARGE]


def _sound(book: _Book, world: World) -> Iterator[str]:
    """Balances are the journal's, postings the orders', floors hold (``aircharge verify``)."""
    engine = open_engine(f"sqlite:///{world.ledger_file}")
    with engine.connect() as txn:
        yield from verify(txn).problems
    engine.dispose()


def _orders(book: _Book, world: World) -> Iterator[str]:
    """Every order is definite, or honestly in doubt, and says what the operator's record says."""
    for row in book.orders:
        state, name = State(row["state"]), f"order {row['id']} ({row['op_ref']})"
        if state in (State.HELD, State.SENT):
            yield f"{name} is left {state.name}"
        if row["kind"] != Operation.RECHARGE or row["op_ref"] in book.lied_about:
            continue
        net = book.net(row["op_ref"] or "")
        if row["id"] in book.perhaps_taken_back and net == 0:
            continue
        if state is State.SETTLED and net != row["amount"]:
            yield f"{name} is SETTLED, the operator has credited {net} fen"
        elif state in (State.VOIDED, State.REVERSED, State.REFUSED) and net:
            yield f"{name} is {state.name}, the operator has credited {net} fen"
    if world.plan.mode != "never":
        doubtful = [row for row in book.orders if row["state"] == State.IN_DOUBT and _surely(row, book)]
        yield from (f"order {row['id']} is still IN_DOUBT though it could be resolved" for row in doubtful)


def _surely(row: Any, book: _Book) -> bool:
    return row["op_ref"] not in book.lied_about


def _record(book: _Book, world: World) -> Iterator[str]:
    """Every credit is one of our orders', of its amount, to its number, and once."""
    known = {row["op_ref"]: row for row in book.orders if row["op_ref"]}
    for op_ref, credits in book.credits.items():
        if len(credits) > 1:
            yield f"{op_ref} was executed {len(credits)} times"
        row = known.get(op_ref)
        if op_ref in book.originals:
            original = known.get(book.originals[op_ref])
            row = original if row is None else row
        if row is None:
            yield f"{op_ref} was executed and is in no book"
        elif credits[0] != (row["msisdn"], credits[0][1]) or abs(credits[0][1]) != row["amount"]:
            yield f"{op_ref} was executed for another number or amount"
    again = Counter(book.originals.values())
    yield from (f"{op_ref} was taken back {count} times" for op_ref, count in again.items() if count > 1)


def _requests(book: _Book, world: World) -> Iterator[str]:
    """One request, one order at most; and what was acknowledged has left a record."""
    wanted = Counter(asked.target for asked in world.asked)
    served = Counter(row["msisdn"] for row in book.orders if _took(row))
    for target, count in served.items():
        if count > wanted[target]:
            yield f"{count} recharges of {target} for {wanted[target]} requests"
    for target in sorted(served.keys() | wanted.keys()):
        net = sum(book.net(row["op_ref"]) for row in book.of_target(target) if row["op_ref"])
        price = max((asked.amount_fen for asked in world.asked if asked.target == target), default=0)
        if net > price * wanted[target] and not _lied(book, target):
            yield f"{target} has {net} fen for {wanted[target]} requests"
    for asked in world.asked:
        acknowledged = any(one.status == 0 for one in asked.deliveries)
        if acknowledged and not book.of_target(asked.target):
            yield f"the request for {asked.target} was acknowledged and is in no book"


def _lied(book: _Book, target: str) -> bool:
    return any(row["op_ref"] in book.lied_about for row in book.of_target(target))


def _took(row: Any) -> bool:
    return bool(row["kind"] == Operation.RECHARGE and row["state"] != State.REFUSED)


def _limits(book: _Book, world: World) -> Iterator[str]:
    """No outlet has had more recharges in a day than its limit allows."""
    counted: Counter[tuple[str, int]] = Counter()
    for row in book.orders:
        if _took(row) and row["state"] not in (State.VOIDED, State.REVERSED):
            counted[book.codes[row["outlet_acct"]], row["created_ms"]] += 1
    days: Counter[int] = Counter()
    for (code, at_ms), count in counted.items():
        if code == LIMITED:
            days[(at_ms + 8 * 3_600_000) // 86_400_000] += count
    yield from (f"{count} recharges of {LIMITED} in a day" for count in days.values() if count > LIMIT_COUNT)


def _locks(book: _Book, world: World) -> Iterator[str]:
    """A wrong PIN opens nothing; nor does the right one while the outlet is locked."""
    forbidden = {one.target for one in world.locked_asked}
    allowed = {one.target for one in world.asked}
    if world.locked_asked:
        forbidden |= {"13700000009"} - allowed
    for row in book.orders:
        if row["msisdn"] in forbidden and _took(row):
            yield f"order {row['id']} for {row['msisdn']} was let through a lock"


def _notices(book: _Book, world: World) -> Iterator[str]:
    """Each outcome is told of, once: a row of the outbox each, all sent."""
    rows = book.db.execute("SELECT txn_id, topic, recipient, state FROM outbox WHERE txn_id <> 0").fetchall()
    told = Counter(
        (row["txn_id"], row["topic"], row["recipient"]) for row in rows if row["topic"].startswith("customer")
    )
    yield from (
        f"{topic} of order {number} is told {count} times"
        for (number, topic, _), count in told.items()
        if count > 1
    )
    topics = {(row["txn_id"], row["topic"]) for row in rows}
    for row in book.orders:
        if row["kind"] != Operation.RECHARGE:
            continue
        has = (row["id"], "customer.settled") in topics
        if has and row["state"] not in (State.SETTLED, State.REVERSED):
            yield f"the customer of order {row['id']} is told of a success that is none"
        if not has and row["state"] in (State.SETTLED, State.REVERSED):
            yield f"the customer of order {row['id']} is told nothing"
    unsent = book.db.execute("SELECT count(*) FROM outbox WHERE state = 0").fetchone()[0]
    if unsent:
        yield f"{unsent} notices are still unsent"


def _texts(book: _Book, world: World) -> Iterator[str]:
    """On the handsets: no text twice unless an answer of the SMS centre may have been lost."""
    may_repeat = any(fault.startswith(_REPEATING) for fault in world.faults)
    targets = {asked.target for asked in world.asked}
    for target in sorted(targets):
        texts = Counter(one.text for one in world.centre.handsets.inbox(target))
        rows = book.db.execute("SELECT count(*) FROM outbox WHERE recipient = ?", (target,)).fetchone()[0]
        if len(texts) > rows:
            yield f"{target} was told {len(texts)} things, {rows} were to be told"
        if not may_repeat and any(count > 1 for count in texts.values()):
            yield f"{target} was told the same thing twice"


def _recovered(book: _Book, world: World) -> Iterator[str]:
    """After the storm every outlet with money is served again."""
    for asked in world.probes:
        states = [State(row["state"]).name for row in book.of_target(asked.target)]
        if states != ["SETTLED"]:
            yield f"after the storm {asked.outlet} was not served: {states} {_statuses(asked)}"


def _statuses(asked: Asked) -> list[int | None]:
    return [one.status for one in asked.deliveries]


def _tills(book: _Book, world: World) -> Iterator[str]:
    """What a clerk was told is so: sold is sold, taken back is taken back or the outlet knows better, totals agree."""
    wishes = dict(book.db.execute("SELECT txn_id, state FROM pos_reversal").fetchall())
    for terminal, till in world.tills.tills.items():
        excused = till.was_replaced  # the batch it left is nobody's to settle
        for rung in till.rung:
            marks = [row for row in book.orders if row["idem_scope"] == f"pos:{terminal}"]
            rows = [row for row in marks if row["idem_key"] == f"{rung.batch:06d}{rung.trace:06d}"]
            sold = [row for row in rows if _took(row) and row["msisdn"] == rung.target]
            name = f"the sale {rung.trace} of terminal {terminal} for {rung.target}"
            states = {State(row["state"]) for row in sold}
            lied = any(row["op_ref"] in book.lied_about for row in sold)
            stands = any(wishes.get(row["id"]) == CANCEL_STANDS for row in sold)
            asked_about = any(
                row["id"] in book.perhaps_taken_back for row in sold
            )  # its reversal is in doubt
            waits = any(wishes.get(row["id"]) == CANCEL_WANTED for row in sold)
            excused |= lied or stands or waits or bool(states & {State.IN_DOUBT, State.MANUAL}) or rung.voided
            if rung.code == "00" and not rung.taken_back and not states & {State.SETTLED, State.REVERSED}:
                yield f"{name} was approved and is {sorted(state.name for state in states)}"
            if rung.code == "00" and not (rung.taken_back or rung.voided) and State.REVERSED in states:
                yield f"{name} was approved and is taken back"
            is_broken = (
                rung.fault == "other-content"
            )  # it asks twice under one trace, and hears of the second
            excused |= is_broken
            if rung.code not in ("", "00") and states & {State.SETTLED} and not (lied or is_broken):
                yield f"{name} was refused with {rung.code} and is sold"
            if rung.taken_back and State.SETTLED in states and not (stands or lied or waits):
                yield f"{name} was taken back and stands"
            if (
                rung.taken_back
                and waits
                and not asked_about
                and states & {State.SETTLED, State.VOIDED, State.REVERSED}
            ):
                yield f"{name} was taken back, and nobody has seen to it"
        if till.rung and till.terminal.memory.owed is not None:
            yield f"terminal {terminal} was never answered"
        if till.rung and till.settled != "00":
            yield f"terminal {terminal} could not settle"
        unequal = book.db.execute(
            "SELECT count(*) FROM pos_batch b JOIN terminal t ON t.id = b.terminal_id"
            " WHERE t.code = ? AND b.state <> 1",
            (terminal,),
        ).fetchone()[0]
        if unequal and not excused:
            yield f"the totals of terminal {terminal} are not ours"


def _logs(book: _Book, world: World) -> Iterator[str]:
    """No PIN, no key, no whole number; and the last guards were never needed."""
    text = world.log.getvalue()
    secrets = [card[name] for card in world.base.cards for name in ("kic", "kid")] + [world.base.password]
    for what, hit in (("a whole number", _NUMBER.search(text)), ("a PIN", _PINS.search(text))):
        if hit is not None:
            yield f"the log holds {what}: …{text[max(0, hit.start() - 60) : hit.end() + 10]}…"
    for line in text.splitlines():
        is_broken = "THE LEDGER IS BROKEN" in line and "disk I/O error" not in line
        if is_broken or "constraint" in line or "NOT SOUND" in line:
            yield f"the book's last guard had to step in: {line[:200]}…{line[-200:]}"
            break
    if any(secret in text for secret in secrets):
        yield "the log holds a key"
