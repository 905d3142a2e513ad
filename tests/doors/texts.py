"""What outlets were told by SMS, held against ledger and operator: every success, failure and balance must be true."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.doors.judge import Seen
    from tests.doors.street import Street

__all__ = ["money_told", "read_texts"]

SETTLED, VOIDED, REVERSED, REFUSED = 4, 5, 7, 0
_FEN = r"(-?[0-9.]+)"
SUCCESS: Final = re.compile(rf"成功:(\d{{11}})充{_FEN}元,流水(\d{{8}})。(?:余额{_FEN}-{_FEN}={_FEN}元。)?")
FAILURE: Final = re.compile(rf"失败\((\d\d)\).*?:?(\d{{11}})充{_FEN}元.*流水(\d{{8}})")
UNCHARGED: Final = re.compile(r"未扣款")
BACK: Final = re.compile(rf"返销成功:(\d{{11}}) {_FEN}元,原流水(\d{{8}})")
NOT_BACK: Final = re.compile(rf"返销未成功:(\d{{11}}) {_FEN}元,原流水(\d{{8}}),原充值有效")
BALANCE: Final = re.compile(rf"余额{_FEN}元,可用{_FEN},在途{_FEN}。")
CUSTOMER: Final = re.compile(rf"您的号码\S+已充值{_FEN}元,.*流水(\d{{8}})")
AGAIN_DONE: Final = re.compile(rf"未重复扣款\(26\):\S+已充(\d{{11}}) {_FEN}元,流水(\d{{8}})")
MOVED: Final = (
    (re.compile(rf"资金到账{_FEN}元,流水(\d{{8}})。余额{_FEN}\+{_FEN}={_FEN}元"), 1),
    (re.compile(rf"收到\S+转来{_FEN}元,流水(\d{{8}})。余额{_FEN}\+{_FEN}={_FEN}元"), 1),
    (re.compile(rf"佣金转入余额{_FEN}元,流水(\d{{8}})。余额{_FEN}\+{_FEN}={_FEN}元"), 1),
    (re.compile(rf"已转给\S+ {_FEN}元,流水(\d{{8}})。余额{_FEN}-{_FEN}={_FEN}元"), -1),
    (re.compile(rf"退款{_FEN}元,流水(\d{{8}})。余额{_FEN}-{_FEN}={_FEN}元"), -1),
)
TURNED: Final = (
    re.compile(rf"()调账{_FEN}元,流水(\d{{8}})。余额由{_FEN}变为{_FEN}元"),
    re.compile(rf"(转给\S+)的{_FEN}元已撤回,流水(\d{{8}})。余额由{_FEN}变为{_FEN}元"),
)
"""Which way it went is in the two balances."""
LINES: Final = (0, 5000)
"""Credit lines that the desk gives, in fen."""


def fen(yuan: str) -> int:
    return round(float(yuan) * 100)


def read_texts(street: Street, seen: Seen) -> Iterator[str]:
    """Every text of every outlet and customer."""
    orders: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for order in seen.orders:
        orders[str(order["id"])[-8:]].append(order)
    posted = _balances_ever(seen)
    for outlet in street.outlets:
        for text in street.house.centre.inbox[outlet.phone]:
            yield from _outcome(text, outlet.code, orders, seen)
            if found := BALANCE.search(text):
                balance, available, held = (fen(part) for part in found.groups())
                if balance not in posted[outlet.code] or available - balance + held not in LINES:
                    yield f"{outlet.code} was told a balance that it never had: {text}"
    yield from _customers(street, orders)


def _outcome(text: str, code: str, orders: dict[str, list[dict[str, Any]]], seen: Seen) -> Iterator[str]:
    for pattern, states in (
        (SUCCESS, (SETTLED, REVERSED)),
        (FAILURE, (VOIDED, REFUSED)),
        (BACK, (REVERSED,)),
        (AGAIN_DONE, (SETTLED, REVERSED)),
    ):
        found = pattern.search(text)
        if found is None or text.startswith("返销") != (pattern is BACK):
            continue
        groups = found.groups()[1:] if pattern is FAILURE else found.groups()
        target, yuan, last = groups[:3]
        named = [order for order in orders.get(last, ()) if seen.code_of.get(order["outlet_acct"]) == code]
        if not named:
            yield f"{code} was told of an order that is not its own: {text}"
            continue
        order = named[0]
        if order["op_ref"] in seen.lied:
            continue
        if order["kind"] == 2:
            order = seen.by_id[order["orig_txn"]]
            states = (SETTLED, REVERSED) if pattern is FAILURE else states
        if order["state"] not in states or order["msisdn"] != target or order["amount"] != fen(yuan):
            yield f"{code} was told what is not so (order {order['id']} is in state {order['state']}): {text}"
        if pattern is SUCCESS and found[4] and fen(found[4]) - fen(found[5]) != fen(found[6]):
            yield f"{code} was told a sum that is wrong: {text}"


def _customers(street: Street, orders: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Each customer's texts are of settled orders for that number."""
    for target in street.wishes:
        for text in street.house.centre.inbox.get(target, ()):
            if found := CUSTOMER.search(text):
                named = orders.get(found[2], ())
                if not any(
                    order["msisdn"] == target
                    and order["state"] in (SETTLED, REVERSED)
                    and order["amount"] == fen(found[1])
                    for order in named
                ):
                    yield f"the customer {target} was told what is not so: {text}"


def _balances_ever(seen: Seen) -> dict[str, set[int]]:
    """What each outlet's float has ever been, by the journal, in fen."""
    float_of = seen.code_of
    now: Counter[str] = Counter()
    ever: dict[str, set[int]] = defaultdict(lambda: {0})
    for dr, cr, amount in seen.house.rows("SELECT dr, cr, amount FROM journal ORDER BY jid"):
        for account, change in ((dr, -amount), (cr, amount)):
            if (code := float_of.get(account)) is not None:
                now[code] += change
                ever[code].add(now[code])
    return ever


def money_told(street: Street, phone: str) -> tuple[int, int] | None:
    """(the last balance told, the sum of all that came and went but recharges), in fen; None: no balance was told."""
    texts = street.house.centre.inbox[phone]
    last = next((found for text in reversed(texts) if (found := BALANCE.search(text))), None)
    if last is None:
        return None
    moves: dict[tuple[str, str], int] = {}
    for text in texts:
        for pattern, sign in MOVED:
            if found := pattern.search(text):
                moves[pattern.pattern[:2], found[2]] = sign * fen(found[1])
        for pattern in TURNED:
            if found := pattern.search(text):
                moves[pattern.pattern[:4], found[3]] = fen(found[5]) - fen(found[4])
    return fen(last[1]), sum(moves.values())
