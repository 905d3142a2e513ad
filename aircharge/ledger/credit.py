"""Credit lines (授信): how far below nothing a float may go, and until when. Pure.

The float's floor is the limit with a minus sign. From the moment a line ends (or is lowered below what is used of it)
nothing more is lent, whatever moves: the floor follows the balance up (``BalanceRow.bound``), so what comes in repays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from aircharge.ledger.chart import OUTLET_CLOSED
from aircharge.ledger.page import Page
from aircharge.ledger.rows import BalanceRow, Needs, OutletRow, RowChange
from aircharge.ledger.rule import Rule

__all__ = ["CREDIT", "RULES", "CreditLine", "ExpireCredit", "set_credit"]

CREDIT: Final = "credit"
_TABLE: Final = "credit_line"


@dataclass(frozen=True, slots=True)
class CreditLine:
    """A line as it stands: ``floor_fen`` is what the float may go down to now, ``owed_fen`` what is used of it."""

    outlet_id: int
    limit_fen: int
    until_ms: int
    floor_fen: int
    owed_fen: int


@dataclass(frozen=True, slots=True)
class ExpireCredit:
    """Look at a line whose time may be over. Result: the CreditLine as it stands, or a text: there is none."""

    outlet_id: int
    code: str


def set_credit(page: Page, outlet: OutletRow, limit_fen: int, until_ms: int, author: str) -> CreditLine:
    """A new limit in the place of the old one; 0 takes the line away."""
    values: dict[str, Any] = {
        "limit_fen": limit_fen,
        "until_ms": until_ms,
        "author": author[:64],
        "ended": int(limit_fen == 0),
    }
    line = _line(page, outlet.id)
    if line is None:
        line = {"outlet_id": outlet.id, **values}
        page.changes.rare.append(RowChange(_TABLE, dict(line)))
        page.rows.found[_TABLE, "outlet_id", outlet.id] = [line]
    else:
        page.changes.rare.append(RowChange(_TABLE, values, {"outlet_id": outlet.id}))
        line.update(values)
    balance = page.rows.balances[outlet.float_id]
    balance.floor = min(-limit_fen, balance.posted - balance.held, 0)
    page.touch_balance(balance)
    return _stand(page, outlet, line)


def expire_credit(page: Page, command: ExpireCredit) -> CreditLine | str:
    """The outlet is told when its line ends, once; its floor is written as far up as the balance is."""
    outlet = page.rows.codes.get(command.code)
    if outlet is None or outlet.id != command.outlet_id or outlet.status == OUTLET_CLOSED:
        return f"no outlet {command.code}"
    line = _line(page, outlet.id)
    if line is None:
        return f"outlet {command.code} has no credit line"
    stands = _stand(page, outlet, line)
    if line["ended"] or page.now_ms < line["until_ms"]:
        return stands
    page.changes.rare.append(RowChange(_TABLE, {"ended": 1}, {"outlet_id": outlet.id}))
    line["ended"] = 1
    page.audit("credit.expire", outlet.code, floor_fen=stands.floor_fen, owed_fen=stands.owed_fen)
    recipient = page.rows.first_phones.get(outlet.id)
    if recipient:
        facts = {"amount_fen": stands.owed_fen, "at_ms": page.now_ms, "outlet": outlet.code}
        page.notice(0, "outlet.credit-ended", recipient, "", outlet.language, facts)
    return stands


def _stand(page: Page, outlet: OutletRow, line: dict[str, Any]) -> CreditLine:
    balance: BalanceRow = page.rows.balances[outlet.float_id]
    balance.line_fen = line["limit_fen"] if page.now_ms < line["until_ms"] else 0
    if balance.floor != balance.bound:
        page.touch_balance(balance)
    owed_fen = max(balance.held - balance.posted, 0)
    return CreditLine(outlet.id, line["limit_fen"], line["until_ms"], balance.bound, owed_fen)


def _line(page: Page, outlet_id: int) -> dict[str, Any] | None:
    found = page.rows.found.get((_TABLE, "outlet_id", outlet_id), [])
    return found[0] if found else None


def _needs(needs: Needs, command: ExpireCredit) -> None:
    needs.codes.add(command.code)
    needs.wanted.add((_TABLE, "outlet_id", command.outlet_id))


RULES: Final = {ExpireCredit: Rule(_needs, expire_credit)}
