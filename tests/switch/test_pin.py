"""The switch finds the outlet and a fresh salt for a change of PIN; the book does the rest."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from aircharge.errors import Reason
from aircharge.ledger.pinning import ChangePin
from aircharge.switch.board import Board
from aircharge.switch.pin import SALT_OCTETS, change_pin
from aircharge.values import Asker, Channel, Pin
from tests.ledger.desk import PHONES, PIN, SERVICE, Books
from tests.switch.test_parking import BooksLedger

NEW = "482915"


class Chance:
    def __init__(self) -> None:
        self.asked: list[int] = []

    def token(self, length: int) -> bytes:
        self.asked.append(length)
        return bytes([len(self.asked)]) * length


@pytest.mark.parametrize(
    ("phone", "reason"),
    [(PHONES["A"], Reason.OK), ("13900000099", Reason.UNKNOWN_SENDER)],
    ids=["an outlet's phone", "nobody's"],
)
def test_a_change_of_pin_through_the_switch(phone: str, reason: Reason) -> None:
    books, chance, said = Books().setup(), Chance(), []
    ledger: Any = BooksLedger(books)
    wish = ChangePin(Channel.SMS, Asker(phone, SERVICE), Pin(PIN), Pin(NEW), Pin(NEW), books.clock.ms)
    Deferred.fromCoroutine(change_pin(Board(ledger, [], books.clock), wish, chance)).addBoth(said.append)
    assert said[0].reason is reason
    assert chance.asked == [SALT_OCTETS]
    changed = books.value("SELECT count(*) FROM credential WHERE salt = :salt", salt=b"\1" * SALT_OCTETS)
    assert changed == int(reason is Reason.OK)
    books.engine.dispose()
