"""What the desk is shown of batches: open ones with something in them, settled ones, the lines that differ."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from aircharge.ledger.chart import DETAIL_MISSING, DETAIL_UNKNOWN, POS_COMPARED, POS_EQUAL, POS_UNEQUAL
from aircharge.ledger.terminals import Totals
from aircharge.outlets.desk import RegistryError
from aircharge.outlets.terminal_batches import (
    OpenBatch,
    batch_sheet,
    open_batches,
    settled_batches,
    sums_of,
)
from aircharge.pos.till import Sale
from tests.pos.shop import Shop, now


def sell(shop: Shop, trace: int, target: str) -> None:
    assert now(shop.till.sell(shop.terminal(), Sale(1, trace, target, 5000))).code == "00"


def settled(txn: Connection, **wanted: bool) -> list[tuple[int, int, int]]:
    return [(row["batch"], row["state"], row["wrong"]) for row in settled_batches(txn, **wanted)]


def test_a_batch_from_its_first_sale_to_its_last_difference() -> None:
    shop = Shop()
    shop.sign_in()
    with shop.books.engine.connect() as txn:
        assert list(open_batches(txn)) == []
    first_ms = shop.books.clock.ms
    sell(shop, 1, "13812345678")
    sell(shop, 2, "13812345679")
    with shop.books.engine.connect() as txn:
        (seen,) = open_batches(txn)
        assert list(open_batches(txn, "nowhere")) == []
        with pytest.raises(RegistryError, match="not settled batch 1"):
            batch_sheet(txn, "10000001", 1)
    assert (seen.terminal, seen.batch, seen.sums) == ("10000001", 1, Totals(2, 10_000))
    assert isinstance(seen, OpenBatch)
    assert first_ms <= seen.since_ms <= shop.books.clock.ms
    now(shop.till.settle(shop.terminal(), 1, Totals(2, 8000)))
    with shop.books.engine.connect() as txn:
        row, lines = batch_sheet(txn, "10000001", 1)
        assert (row["state"], lines) == (POS_UNEQUAL, [])
    now(shop.till.compare(shop.terminal(), 1, {1: 5000, 9: 3000}))
    now(shop.till.settle(shop.terminal(), 2, Totals()))
    with shop.books.engine.connect() as txn:
        row, lines = batch_sheet(txn, "10000001", 1)
        assert settled(txn) in (
            [(2, POS_EQUAL, 0), (1, POS_COMPARED, 2)],
            [(1, POS_COMPARED, 2), (2, POS_EQUAL, 0)],
        )
        assert settled(txn, differing=True) == [(1, POS_COMPARED, 2)]
        assert list(open_batches(txn)) == []
    assert (sums_of(row, "their"), sums_of(row, "our")) == (Totals(2, 8000), Totals(2, 10_000))
    assert [(line["trace"], line["said"]) for line in lines] == [(2, DETAIL_MISSING), (9, DETAIL_UNKNOWN)]
    shop.close()
