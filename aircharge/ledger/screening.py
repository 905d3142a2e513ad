"""What speaks against an order before its limits are looked at: lists, the agent's rules, the wrong-number guard. Pure.

LISTED, RULE or PIN_NEEDED, CONFIRM in that order; REVIEW says that nothing does, but a clerk must let it go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from aircharge.errors import Reason
from aircharge.ledger import limits
from aircharge.ledger.chart import (
    LIST_BLACK,
    LIST_WHITE,
    PERIOD_MONTH,
    SUBJECT_OUTLET,
    SUBJECT_PHONE,
    SUBJECT_TARGET,
    SUBJECT_TERMINAL,
)
from aircharge.ledger.page import Facts, Page
from aircharge.ledger.policy import Policy
from aircharge.ledger.risk import Situation, judge
from aircharge.ledger.rows import Charge, ListRow, OutletRow, PhoneRow
from aircharge.values import mask_msisdn

__all__ = ["SERVED_SINCE_MS", "Request", "is_guarded", "near_number", "neighbours", "screen", "unusual"]

_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
SERVED_SINCE_MS: Final = 90 * _DAY_MS
_OFTEN: Final = 3  # settled recharges of a number within that time: this outlet knows it
_USUAL_N: Final = 10  # orders of a month that make an average
_UNUSUAL: Final = 5  # times the average


@dataclass(frozen=True, slots=True)
class Request:
    """An order as rules look at it; ``charge`` says who asks for what."""

    charge: Charge
    channel: int
    amount_fen: int
    operator_id: int = 0
    repeated: bool = False
    confirmed: bool = False  # the asker has answered the guard's question
    pin_given: bool = False  # and right


def screen(page: Page, outlet: OutletRow, request: Request) -> tuple[Reason, Facts]:
    """See above; else OK. Alerts are written to the audit on the way."""
    white, black = _listings(page, outlet, request.charge)
    if black is not None:
        return Reason.LISTED, black
    policy = page.rows.policy
    verdict = judge(policy.rules, _situation(page, outlet, request, listed=white)) if policy.rules else None
    if verdict is not None:
        for name in verdict.alerts:
            target = mask_msisdn(request.charge.target)
            page.audit("alarm.rule", outlet.code, rule=name, target=target, amount_fen=request.amount_fen)
        if verdict.then == "deny":
            return Reason.RULE, {"rule_name": verdict.rule}
        if verdict.then == "ask_pin":
            return Reason.PIN_NEEDED, {"rule_name": verdict.rule}
    if is_guarded(policy, outlet) and not white and not request.confirmed:
        doubt = _wrong_number(page, outlet, request) or _wrong_amount(page, outlet, request)
        if doubt:
            return Reason.CONFIRM, doubt
    if verdict is not None and verdict.then == "hold":
        return Reason.REVIEW, {"rule_name": verdict.rule}
    return Reason.OK, {}


# -- lists ------------------------------------------------------------------------------------------------


def _listings(page: Page, outlet: OutletRow, charge: Charge) -> tuple[bool, Facts | None]:
    """Whether anything about the order is on the white list, and what is on the black one. Black is stronger."""
    white, black = False, None
    for subject, value in (
        (SUBJECT_OUTLET, outlet.code),
        (SUBJECT_PHONE, charge.phone),
        (SUBJECT_TERMINAL, charge.terminal),
        (SUBJECT_TARGET, charge.target),
    ):
        entry = page.rows.lists.get((subject, value))
        if entry is None or not _in_force(entry, page.now_ms):
            continue
        white |= entry.colour == LIST_WHITE
        if entry.colour == LIST_BLACK and black is None:
            black = {"subject": subject}
            if entry.until_ms is not None:
                black["barred_until_ms"] = entry.until_ms
    return white, black


def _in_force(entry: ListRow, now_ms: int) -> bool:
    return entry.until_ms is None or entry.until_ms > now_ms


# -- rules ------------------------------------------------------------------------------------------------


def _situation(page: Page, outlet: OutletRow, request: Request, *, listed: bool) -> Situation:
    charge, phone = request.charge, page.rows.phones.get(request.charge.phone, PhoneRow(outlet.id, 0))
    local_ms = page.now_ms + page.settings.utc_offset_min * 60_000

    def used(subject: int, period: int) -> tuple[int, int]:
        counter = limits.used(page, outlet, charge, subject, period)
        return counter.n, counter.total_fen

    return Situation(
        channel=request.channel,
        operation=charge.operation,
        operator_id=request.operator_id,
        amount_fen=request.amount_fen,
        target=charge.target,
        outlet=outlet.code,
        group=outlet.group,
        hour=local_ms // _HOUR_MS % 24,
        outlet_days=(page.now_ms - outlet.created_ms) // _DAY_MS,
        phone_days=(page.now_ms - phone.created_ms) // _DAY_MS,
        repeated=request.repeated,
        listed=listed,
        pin_given=request.pin_given,
        first_time=partial(_is_first_time, page, outlet, charge),
        used=used,
    )


def _is_first_time(page: Page, outlet: OutletRow, charge: Charge) -> bool:
    return not page.rows.served.get((outlet.float_id, charge.target))


# -- the wrong-number guard -------------------------------------------------------------------------------


def is_guarded(policy: Policy, outlet: OutletRow) -> bool:
    """Whether the wrong-number guard is on for this outlet's group."""
    return bool(policy.guard) and ("*" in policy.guard or outlet.group in policy.guard)


def neighbours(target: str) -> Iterator[str]:
    """Every mobile number that differs from this one in a single digit (the first is 1, the second 3 to 9)."""
    for place in range(1, len(target)):
        for digit in "3456789" if place == 1 else "0123456789":
            if digit != target[place]:
                yield target[:place] + digit + target[place + 1 :]


def _wrong_number(page: Page, outlet: OutletRow, request: Request) -> Facts:
    """A number never served of late, one digit from one that is served often."""
    near = near_number(
        request.charge.target, lambda number: page.rows.served.get((outlet.float_id, number), 0)
    )
    return {"near": near} if near else {}


def near_number(target: str, served: Callable[[str], int]) -> str:
    """The number that a never served one may be a slip for: one digit away and served often; "" = none."""
    if served(target):
        return ""
    near_n, near = max(((served(near), near) for near in neighbours(target)), default=(0, ""))
    return near if near_n >= _OFTEN else ""


def _wrong_amount(page: Page, outlet: OutletRow, request: Request) -> Facts:
    """Five times this outlet's average of the month, or more."""
    month = limits.used(page, outlet, request.charge, SUBJECT_OUTLET, PERIOD_MONTH)
    if unusual(request.amount_fen, month.n, month.total_fen):
        return {"usual_fen": month.total_fen // month.n}
    return {}


def unusual(amount_fen: int, n: int, total_fen: int) -> bool:
    """Whether an amount is many times the average of the orders before it."""
    return n >= _USUAL_N and amount_fen * n >= _UNUSUAL * total_fen
