"""A payment terminal at an outlet's counter, as the book sees it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert

from aircharge.ledger.cancelling import CancelSale
from aircharge.ledger.commands import OpenRecharge
from aircharge.ledger.tables import metadata
from aircharge.ledger.terminal_reading import order_under, sale_key
from aircharge.values import Asker, Channel, Key, Msisdn, Order, Pin, as_terminal
from tests.ledger.desk import SERVICE, Books

__all__ = ["TERMINAL", "Counter"]

TERMINAL = "10000001"


class Counter:
    """Terminal 1 of outlet A, in batch 1."""

    def __init__(self, books: Books, code: str = TERMINAL, outlet: str = "A", number: int = 1) -> None:
        self.books, self.code, self.number, self.trace = books, code, number, 0
        outlet_id = books.value("SELECT id FROM outlet WHERE code = :code", code=outlet)
        values = {"id": number, "code": code, "outlet_id": outlet_id, "kind": "pos", "created_ms": 5}
        with books.store.writing() as txn:
            txn.execute(insert(metadata.tables["terminal"]).values(**values))

    @property
    def asker(self) -> Asker:
        return Asker(as_terminal(self.code), SERVICE)

    def next_trace(self) -> int:
        self.trace += 1
        return self.trace

    def key(self, trace: int, batch: int = 1) -> Key:
        return sale_key(self.code, batch, trace)

    def sale(
        self,
        target: str = "13812345678",
        amount_fen: int = 5000,
        *,
        trace: int = 0,
        pin: str = "",
        **more: Any,
    ) -> OpenRecharge:
        asker = Asker(as_terminal(self.code), SERVICE, None, Pin(pin) if pin else None)
        key = self.key(trace or self.next_trace())
        now_ms = self.books.clock.ms
        return OpenRecharge(Order(Channel.POS, key, asker, Msisdn(target), amount_fen, now_ms), 1, **more)

    def cancel(self, trace: int, amount_fen: int = 5000, **more: Any) -> CancelSale:
        """As the switch does it: what is under the key is read first."""
        key = self.key(trace)
        with self.books.engine.connect() as txn:
            known = order_under(txn, key)
        return CancelSale(self.number, self.asker, key, amount_fen, "98", **{"orig_id": known, **more})
