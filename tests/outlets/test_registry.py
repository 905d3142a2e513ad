"""The registry: what a clerk may write, what is refused, and that each change leaves an audit row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aircharge.ledger.reading import card_by_msisdn, outlets, phones_of
from aircharge.outlets import registry
from aircharge.outlets.pins import WeakPin
from aircharge.outlets.registry import CardForm, Desk, OutletForm, RegistryError
from aircharge.values import Pin
from tests.ledger import engines
from tests.ledger.desk import PINS, Books

ICCID = "89860012345678901234"


@pytest.fixture(params=engines.ENGINES)
def books(request: pytest.FixtureRequest) -> Iterator[Books]:
    with engines.kept_in(request.param):
        made = Books().setup({"A": 0})
        yield made
        assert made.problems() == []
        made.engine.dispose()


def at_desk(books: Books, work: Callable[[Desk], Any]) -> Any:
    with books.store.writing() as txn:
        return work(Desk(txn, books.clock.ms, "li"))


def add(form: OutletForm, pin: str = "735194") -> Callable[[Desk], int]:
    return lambda desk: registry.add_outlet_txn(desk, form, Pin(pin), PINS, b"s" * 16)


def test_an_outlet_has_float_phone_and_pin(books: Books) -> None:
    form = OutletForm("N1", "Corner shop", ("+86 139-0000-0033", "13900000034"), "en", "above", 5000)
    number = at_desk(books, add(form))
    with books.engine.connect() as txn:
        [row] = outlets(txn, "N1")
        phones = {phone["msisdn"] for phone in phones_of(txn, number)}
    assert (row["id"], row["posted"], row["held"], row["language"], row["status"]) == (number, 0, 0, "en", 1)
    assert phones == {"13900000033", "13900000034"}
    assert books.value("SELECT count(*) FROM credential WHERE outlet_id = :id", id=number) == 1


REFUSED = [
    OutletForm("A", "again", ("13900000033",)),
    OutletForm("", "no code", ("13900000033",)),
    OutletForm("x" * 17, "long code", ("13900000033",)),
    OutletForm("N1", "no phone", ()),
    OutletForm("N1", "bad phone", ("abc",)),
    OutletForm("N1", "taken phone", ("13900000001",)),
    OutletForm("N1", "twice", ("13900000033", "13900000033")),
    OutletForm("N1", "bad language", ("13900000033",), "fr"),
    OutletForm("N1", "bad policy", ("13900000033",), "zh", "sometimes"),
    OutletForm("N1", "bad limit", ("13900000033",), "zh", "above", -1),
]


@pytest.mark.parametrize("form", REFUSED, ids=lambda form: form.name)
def test_what_cannot_be_leaves_nothing_behind(books: Books, form: OutletForm) -> None:
    before = [
        books.rows(f"SELECT * FROM {table}") for table in ("outlet", "account", "outlet_phone", "audit")
    ]
    with pytest.raises(RegistryError):
        at_desk(books, add(form))
    assert before == [
        books.rows(f"SELECT * FROM {table}") for table in ("outlet", "account", "outlet_phone", "audit")
    ]


def test_a_weak_pin(books: Books) -> None:
    with pytest.raises(WeakPin):
        at_desk(books, add(OutletForm("N1", "", ("13900000033",)), "123456"))
    with pytest.raises(WeakPin):  # the phone's own tail
        at_desk(books, lambda desk: registry.set_pin_txn(desk, "A", Pin("000001"), PINS, b"s" * 16))


def test_a_new_pin_lifts_the_lock(books: Books) -> None:
    with books.store.writing() as txn:
        txn.exec_driver_sql("UPDATE credential SET fails = 1, locks = 3, locked_until_ms = 9007199254740992")
    at_desk(books, lambda desk: registry.set_pin_txn(desk, "A", Pin("918273"), PINS, b"t" * 16))
    assert books.rows("SELECT fails, locks, locked_until_ms FROM credential") == [(0, 0, 0)]


def test_cards(books: Books) -> None:
    # The outlet of the fixture has a card already: its number is taken.
    with pytest.raises(RegistryError, match="in use"):
        at_desk(books, lambda desk: registry.add_card_txn(desk, "A", CardForm(ICCID, "13900000001")))
    at_desk(books, lambda desk: registry.bind_phone_txn(desk, "A", "13900000033"))
    for form in (CardForm("123", "13900000033"), CardForm(ICCID, "13900000044"), CardForm(ICCID, "x")):
        with pytest.raises(RegistryError):
            at_desk(books, lambda desk, form=form: registry.add_card_txn(desk, "A", form))
    card_id = at_desk(books, lambda desk: registry.add_card_txn(desk, "A", CardForm(ICCID, "13900000033")))
    at_desk(books, lambda desk: registry.keys_txn(desk, card_id, b"kic", b"kid"))
    at_desk(books, lambda desk: registry.block_card_txn(desk, ICCID))
    with books.engine.connect() as txn:
        card = card_by_msisdn(txn, "13900000033")
    assert card is not None
    assert (card.card_id, card.key_source, card.kic_wrapped, card.status) == (card_id, 1, b"kic", 2)
    with pytest.raises(RegistryError):
        at_desk(books, lambda desk: registry.block_card_txn(desk, "8986000000000000000"))


def test_freezing_and_lifting(books: Books) -> None:
    at_desk(books, lambda desk: registry.freeze_txn(desk, "A"))
    assert books.value("SELECT status FROM outlet") == 2
    at_desk(books, lambda desk: registry.freeze_txn(desk, "A", lift=True))
    assert books.value("SELECT status FROM outlet") == 1
    with pytest.raises(RegistryError, match="no outlet"):
        at_desk(books, lambda desk: registry.freeze_txn(desk, "ZZ"))


def test_a_numbers_language(books: Books) -> None:
    for language in ("en", "zh"):
        at_desk(books, lambda desk, word=language: registry.set_language_txn(desk, "+86 13812345678", word))
    assert books.rows("SELECT * FROM number_language") == [("13812345678", "zh")]
    with pytest.raises(RegistryError):
        at_desk(books, lambda desk: registry.set_language_txn(desk, "13812345678", "de"))


def test_every_change_bears_a_name_and_no_secret(books: Books) -> None:
    at_desk(books, add(OutletForm("N1", "Corner shop", ("13900000033",))))
    at_desk(books, lambda desk: registry.freeze_txn(desk, "N1"))
    rows = books.rows("SELECT actor, action, object, detail FROM audit WHERE actor = 'li'")
    assert [row[1] for row in rows] == ["outlet.add", "phone.bind", "pin.set", "outlet.freeze"]
    assert "13900000033" not in repr(rows)
    assert "735194" not in repr(rows)
