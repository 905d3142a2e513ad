"""``18 <number> <PIN>``: the owner's phone blocks another number of the outlet, and only that. On both engines."""

from __future__ import annotations

from typing import Any

import pytest

from aircharge.errors import Reason
from aircharge.ledger.losing import ReportLost
from aircharge.values import Asker, Channel, Pin
from tests.ledger.desk import MINUTE, PHONES, PIN, SERVICE, WRONG, Books

OTHER = "13900000077"


@pytest.fixture
def owned(books: Books) -> Books:
    """Outlet A has a second number; its first is the owner's."""
    with books.store.writing() as txn:
        [number] = txn.exec_driver_sql("SELECT id FROM outlet WHERE code = 'A'").one()
        txn.exec_driver_sql("UPDATE outlet_phone SET rights = 7 WHERE msisdn = '" + PHONES["A"] + "'")
        txn.exec_driver_sql(
            "INSERT INTO outlet_phone (msisdn, outlet_id, rights, status, active_from_ms, created_ms)"
            f" VALUES ('{OTHER}', {number}, 3, 1, 0, 1)"
        )
    return books


def lost(
    books: Books, number: str = OTHER, *, phone: str = PHONES["A"], pin: str = PIN, **more: Any
) -> Reason:
    asker = Asker(phone, SERVICE, None, Pin(pin))
    reason: Reason = books.do(ReportLost(Channel.SMS, asker, number, books.clock.ms, **more)).reason
    return reason


def state(books: Books, number: str = OTHER) -> int:
    return int(books.value("SELECT status FROM outlet_phone WHERE msisdn = :n", n=number))


def recharge(books: Books, target: str, phone: str = OTHER) -> Reason:
    reason: Reason = books.do(books.plain(target, phone=phone)).reason
    return reason


def test_a_lost_number_orders_nothing_more(owned: Books) -> None:
    assert recharge(owned, "13812340001") is Reason.OK
    assert lost(owned) is Reason.OK
    assert owned.told()[-1] == "outlet.phone-lost"
    assert state(owned) == 2
    assert recharge(owned, "13812340002") is Reason.RIGHTS
    assert recharge(owned, "13812340003", PHONES["A"]) is Reason.OK
    assert lost(owned) is Reason.OK  # said again: the same answer


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ({"phone": OTHER}, Reason.RIGHTS),  # no admin phone
        ({"number": PHONES["B"]}, Reason.NOT_FOUND),  # another outlet's
        ({"number": "13900000088"}, Reason.NOT_FOUND),  # nobody's
        ({"number": PHONES["A"]}, Reason.NOT_FOUND),  # its own
        ({"pin": WRONG}, Reason.PIN_WRONG),
        ({"phone": "13900000099"}, Reason.UNKNOWN_SENDER),
        ({"sent_ms": 1}, Reason.STALE),
    ],
)
def test_whoever_may_not_changes_nothing(owned: Books, who: dict[str, Any], why: Reason) -> None:
    owned.clock.ms += MINUTE
    assert lost(owned, **who) is why
    assert state(owned) == 1
    assert state(owned, PHONES["A"]) == state(owned, PHONES["B"]) == 1


def test_the_card_in_a_lost_number_is_blocked_with_it(owned: Books) -> None:
    with owned.store.writing() as txn:
        txn.exec_driver_sql(f"UPDATE card SET msisdn = '{OTHER}' WHERE msisdn = '{PHONES['B']}'")
    count = owned.value("SELECT count(*) FROM card WHERE msisdn = :n AND status = 1", n=OTHER)
    assert count == 1
    assert lost(owned) is Reason.OK
    assert owned.value("SELECT count(*) FROM card WHERE msisdn = :n AND status = 2", n=OTHER) == count
