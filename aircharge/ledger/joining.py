"""A pending outlet's first deposit makes it active. Pure."""

from __future__ import annotations

from typing import Final

from aircharge.ledger.chart import OUTLET_ACTIVE, OUTLET_PENDING
from aircharge.ledger.page import Page
from aircharge.ledger.rows import OutletRow, RowChange

__all__ = ["FIRST_DEPOSIT", "join"]

FIRST_DEPOSIT: Final = "first deposit"


def join(page: Page, outlet: OutletRow) -> None:
    """To be called when float has come in; does nothing to an outlet that is not pending."""
    if outlet.status != OUTLET_PENDING:
        return
    met = {"id": outlet.id, "status": OUTLET_PENDING}
    page.changes.rare.append(RowChange("outlet", {"status": OUTLET_ACTIVE}, met))
    outlet.status = OUTLET_ACTIVE
    page.audit("outlet.activate", outlet.code, before="pending", why=FIRST_DEPOSIT)
