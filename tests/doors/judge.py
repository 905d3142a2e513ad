"""The judges: the operator's own record, the journal read with a bare driver, what handsets and tills were told.

None looks at how the daemon came to it. ``judge`` is called when everything has been settled.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from tests.doors.house import House
from tests.doors.street import Street
from tests.doors.texts import money_told, read_texts
from tests.system.audit import audit

__all__ = ["judge"]

SETTLED, VOIDED, REVERSED, REFUSED, MANUAL = 4, 5, 7, 0, 6
RECHARGE, SMS = 1, 1
NUMBER: Final = re.compile(r"(?<![0-9.])(?:86)?1[3-9][0-9]{9}(?![0-9])")
EXCUSED: Final = re.compile(r"the lease of node 1 ran out [0-9]+ ms ago|Removing stale pidfile")
HELD_BACK: Final = ("THE LEDGER IS BROKEN", "constraint", "NOT SOUND")


class Seen:
    """Ledger and record, read once. ``lied``: references about which the operator has told two things."""

    def __init__(self, house: House) -> None:
        self.house = house
        columns = "id, kind, channel, idem_scope, idem_key, outlet_acct, msisdn, amount, cost, state, op_ref"
        columns += ", orig_txn, counter_acct, reason"
        names = columns.split(", ")
        self.orders = [dict(zip(names, row, strict=True)) for row in house.rows(f"SELECT {columns} FROM txn")]
        self.by_id = {order["id"]: order for order in self.orders}
        self.code_of = dict(
            house.rows(
                "SELECT a.id, o.code FROM account a JOIN outlet o ON o.id = a.owner_id WHERE a.kind = 2"
            )
        )
        self.credits = house.record("SELECT op_ref, msisdn, amount_fen FROM credit ORDER BY id")
        self.originals = dict(
            house.record("SELECT op_ref, original_ref FROM outcome WHERE kind = 'reverse' AND code = '0000'")
        )
        self.lied = {ref for (ref,) in house.record("SELECT op_ref FROM attempt WHERE fate = 'contradict'")}
        for order in self.orders:
            original = self.by_id.get(order["orig_txn"])
            if original and order["op_ref"] in self.lied:
                self.lied.add(original["op_ref"])
        self.lied_about = {order["msisdn"] for order in self.orders if order["op_ref"] in self.lied}

    def net(self, target: str) -> int:
        """What the operator has credited to a number and not taken back, in fen."""
        return sum(fen for _, msisdn, fen in self.credits if msisdn == target)


def judge(street: Street) -> list[str]:
    """What is wrong, a sentence each; empty when all is well."""
    house, found = street.house, []
    seen = Seen(house)
    found += [f"verify: {line}" for line in house.verified()]
    found += _audited(seen)
    for rule in (_wishes, _meant_once, _reversals, _tills, _stuck):
        found += rule(street, seen)
    found += read_texts(street, seen)
    found += _balances(street, seen)
    found += _log(street)
    return found


def _audited(seen: Seen) -> list[str]:
    """The rig's audit, one to one by reference; orders about which the operator lied are left out by their number."""
    problems = audit(seen.house.ledger, seen.house.instance.operator_file, open_allowed=10**6).problems
    lied = {str(order["id"]) for order in seen.orders if order["op_ref"] in seen.lied} | seen.lied
    return [problem for problem in problems if not any(word in lied for word in re.findall(r"\w+", problem))]


def _wishes(street: Street, seen: Seen) -> Iterator[str]:
    """Each number was credited as often as it was meant at most, the amount meant, and nobody whom nobody named."""
    times: Counter[str] = Counter()
    for op_ref, target, fen in seen.credits:
        if fen < 0 or op_ref in seen.lied:
            continue
        times[target] += 1
        amounts = {wish.amount_fen for wish in street.wishes.get(target, ())}
        if target in street.forbidden:
            yield f"{target} was credited {fen} fen, though nothing that named it was an order"
        elif target not in street.wishes:
            yield f"{target} was credited {fen} fen, and nobody named it"
        elif fen not in amounts:
            yield f"{target} was credited {fen} fen, meant were {sorted(amounts)}"
    for target, count in times.items():
        if count > max(street.allowed(target), 1):
            yield f"{target} was credited {count} times for {street.allowed(target)} wishes"
    owners = {target: {wish.outlet for wish in wishes} for target, wishes in street.wishes.items()}
    for order in seen.orders:
        code = seen.code_of.get(order["outlet_acct"])
        is_sold = order["kind"] == RECHARGE and order["state"] in (SETTLED, REVERSED)
        if is_sold and code not in owners.get(order["msisdn"], {code}):
            yield f"order {order['id']} was paid by {code}, and {order['msisdn']} was no wish of its"
    known = {order["msisdn"] for order in seen.orders}
    for letter, wish in street.said:
        if wish and 0 in letter.answers and wish.target not in known:
            told = street.house.centre.inbox[letter.phone]
            if not told:
                yield f"a message for {wish.target} was acknowledged; it is in no book and nobody was told"


def _meant_once(street: Street, seen: Seen) -> Iterator[str]:
    """Plain SMS whose words were meant once: one order at most, and none after a no that the outlet has heard."""
    orders: dict[str, list[dict[str, Any]]] = {}
    for order in sorted(seen.orders, key=lambda order: int(order["id"])):
        if order["kind"] == RECHARGE and order["channel"] == SMS:
            orders.setdefault(order["msisdn"], []).append(order)
    for target, rows in orders.items():
        if street.allowed(target) != 1 or target in seen.lied_about:
            continue
        live = [order for order in rows if order["state"] != REFUSED]
        if len(live) > 1:
            yield f"{target} was meant once and is in {len(live)} orders: {[one['state'] for one in live]}"
        elif live and any(order["state"] == REFUSED for order in rows[: rows.index(live[0])]):
            yield f"{target} was meant once, refused, and carried out when the same words came again"


def _reversals(street: Street, seen: Seen) -> Iterator[str]:
    """Nothing is taken back but what its own outlet, its own till, or the desk asked back."""
    undone = {
        (rung.terminal, rung.target)
        for rung in street.rungs
        if rung.taken_back or rung.voided or not rung.code
    }
    desk = {about for who, about in street.asked_back if who == "desk"}
    for order in seen.orders:
        if order["state"] != REVERSED or order["kind"] != RECHARGE or order["op_ref"] in seen.lied:
            continue
        code, last = seen.code_of[order["outlet_acct"]], str(order["id"])[-8:]
        by_outlet = {(code, order["msisdn"]), (code, last)} & street.asked_back
        by_till = (order["idem_scope"].removeprefix("pos:"), order["msisdn"]) in undone
        if not (by_outlet or by_till or last in desk):
            yield f"order {order['id']} of {code} was taken back, and nobody who may had asked"


def _tills(street: Street, seen: Seen) -> Iterator[str]:
    """What a clerk was told is so: sold is sold, refused is not, taken back is taken back or people know better."""
    waits = dict(seen.house.rows("SELECT txn_id, state FROM pos_reversal"))
    asked = {about for _, about in street.asked_back}
    for rung in street.rungs:
        scope = f"pos:{rung.terminal}"
        sold = [
            order
            for order in seen.orders
            if order["idem_scope"] == scope
            and order["msisdn"] == rung.target
            and order["idem_key"] == f"{rung.batch:06d}{rung.trace:06d}"
            and order["state"] != REFUSED
        ]
        if rung.target in seen.lied_about or any(order["state"] == MANUAL for order in sold):
            continue
        states = {order["state"] for order in sold}
        name = f"the sale {rung.trace} of till {rung.terminal} for {rung.target}"
        stands = any(waits.get(order["id"]) == 2 for order in sold)
        was_asked = bool({rung.target, *(str(order["id"])[-8:] for order in sold)} & asked)
        if rung.code == "00" and not rung.taken_back and not states & {SETTLED, REVERSED}:
            yield f"{name} was approved and is {sorted(states)}"
        if rung.code == "00" and not (rung.taken_back or rung.voided or was_asked) and REVERSED in states:
            yield f"{name} was approved and is taken back"
        if rung.code not in ("", "00") and SETTLED in states and rung.fault != "other-content":
            yield f"{name} was refused with {rung.code} and is sold"
        if rung.taken_back and SETTLED in states and not stands:
            yield f"{name} was taken back and stands"


def _stuck(street: Street, seen: Seen) -> Iterator[str]:
    """Nothing waits for nobody: no open order, no reversal, no wish of a till's; and the doors are open."""
    house = seen.house
    for order in seen.orders:
        if order["state"] in (1, 2, 3, 8):
            yield f"order {order['id']} is left in state {order['state']}"
    for question, what in (
        ("SELECT count(*) FROM outbox WHERE state = 2", "notices have expired"),
        ("SELECT count(*) FROM outbox WHERE state = 0", "notices are unsent"),
        ("SELECT count(*) FROM pos_reversal WHERE state = 0", "reversals of tills wait"),
    ):
        [(count,)] = house.rows(question)
        if count:
            yield f"{count} {what}"
    if not house.instance.is_running("daemon"):
        yield "the daemon is gone"
    elif not house.is_ready():
        yield "the daemon is not ready"
    for till in street.tills.values():
        if till.terminal.memory.owed is not None and till.terminal.memory.mak and not till.is_blocked:
            yield f"till {till.code} is never answered about what it owes"


def _balances(street: Street, seen: Seen) -> Iterator[str]:
    """Balance told by ``00`` = money told to have come − told to have gone − what the operator credited for it."""
    for outlet in street.outlets:
        said = money_told(street, outlet.phone)
        if said is None:
            continue
        balance_fen, moved_fen = said
        targets = {t for t, wishes in street.wishes.items() if any(w.outlet == outlet.code for w in wishes)}
        if targets & seen.lied_about:
            continue
        credited_fen = sum(seen.net(target) for target in targets)
        if balance_fen != moved_fen - credited_fen:
            yield (
                f"{outlet.code} is told {balance_fen} fen; {moved_fen} fen came in by what it was told, "
                f"{credited_fen} fen were credited for it: {moved_fen - credited_fen}"
            )


def _log(street: Street) -> Iterator[str]:
    """No traceback, no PIN, no key, no whole number; the last guards were never needed."""
    house = street.house
    text = house.instance.daemon_log.read_text("utf-8", "replace")
    pins = re.compile(rf"(?<![0-9.])(?:{'|'.join(sorted({*street.pins, '482957'}))})(?![0-9])")
    complaints: Counter[str] = Counter()
    for line in text.splitlines():
        for what, pattern in (("a whole number", NUMBER), ("a PIN", pins)):
            if hit := pattern.search(line):
                complaints[f"the log holds {what}: …{line[max(0, hit.start() - 80) : hit.end() + 20]}…"] += 1
        if any(secret in line for secret in house.secrets):
            complaints["the log holds a key or a password"] += 1
        if EXCUSED.search(line):
            continue
        complaints.update(_complaint(line))
    yield from (f"{what} ({count} times)" for what, count in complaints.items())


def _complaint(line: str) -> Iterator[str]:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        yield f"printed: {line[:160]}"
        return
    if "trace" in event or event["level"] == "critical" or any(word in line for word in HELD_BACK):
        last = event.get("trace", "").strip().splitlines()[-1:]
        yield f"logged: {event['from']}: {event['text'][:90]}: {' '.join(last)[:160]}"
