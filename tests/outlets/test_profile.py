"""Master data: what may stand in each field, and that the audit has what stood there before, but no secret."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aircharge.outlets.fields import BY_NAME, FIELDS, Weight
from aircharge.outlets.profile import change_profile_txn, profile_of
from aircharge.outlets.registry import RegistryError
from tests.ledger.desk import Books
from tests.outlets.desk import at_desk, read

IDENTITY = "11010519491231002X"  # the worked example of GB 11643

READ: tuple[tuple[str, str, Any, str], ...] = (
    # field, as written, as kept, as shown
    ("name", "城南便利店", "城南便利店", "城南便利店"),
    ("level", "代理商", 3, "distributor"),
    ("status", "pending", 0, "pending"),
    ("region", "330106", "330106", "330106"),
    ("legal_id", IDENTITY.lower(), IDENTITY, IDENTITY),
    ("legal_id", "E12345678", "E12345678", "E12345678"),
    ("contact_phone", "0571-88886666", "0571-88886666", "0571-88886666"),
    ("contract_from", "2026/1/31", 20260131, "2026-01-31"),
    ("contract_from", "20240229", 20240229, "2024-02-29"),
    ("contract_until", "", 0, ""),
    ("deposit_due", "20000", 2_000_000, "20000.00"),
    ("deposit_due", "0.5", 50, "0.50"),
    ("bank_account", "6222 0200 1234 5678 903", "6222 0200 1234 5678 903", "6222 0200 1234 5678 903"),
    ("pin_policy", "always", 2, "always"),
)


@pytest.mark.parametrize(("name", "text", "kept", "shown"), READ)
def test_a_field_is_read_kept_and_shown(name: str, text: str, kept: Any, shown: str) -> None:
    field = BY_NAME[name]
    assert field.read(text) == kept
    assert field.show(kept) == shown
    assert field.read(shown) == kept


REFUSED = (
    ("name", "x" * 65, "65 characters; at most 64"),
    ("name", "a\x00b", "control character"),
    ("name", "a\nb", "control character"),
    ("level", "shop", "'shop': province, city, distributor, outlet"),
    ("language", "fr", "zh or en"),
    ("group", "", "letters, digits"),
    ("group", "g" * 17, "at most 16"),
    ("manager", "wang li", "letters, digits"),
    ("region", "3301", "six digits of GB/T 2260"),
    ("region", "990106", "six digits of GB/T 2260"),
    ("region", "３３０１０６", "six digits of GB/T 2260"),
    ("legal_id", "110105194912310021", "check digit"),
    ("legal_id", "110105194913310020", "check digit or date"),
    ("legal_id", "12", "no identity number"),
    ("contact_phone", "call me", "no telephone number"),
    ("contract_from", "2026-02-29", "there is no day"),
    ("contract_from", "tomorrow", "date 'tomorrow'"),
    ("contract_from", "2026131", "date '2026131'"),
    ("deposit_due", "-1", "no amount in yuan"),
    ("deposit_due", "1.234", "no amount in yuan"),
    ("deposit_due", "9" * 19, "no amount in yuan"),
    ("bank_account", "6.22202E+18", "a bank account has"),
    ("credit_grade", "excellent!", "letters, digits"),
)


@pytest.mark.parametrize(("name", "text", "says"), REFUSED)
def test_what_cannot_stand_in_a_field(name: str, text: str, says: str) -> None:
    with pytest.raises(RegistryError, match=says):
        BY_NAME[name].read(text)


def change(books: Books, code: str = "A", **said: str) -> Any:
    return at_desk(books, lambda desk: change_profile_txn(desk, code, said, confirmed=True))


def test_a_change_is_kept_with_what_stood_there_before(books: Books) -> None:
    change(books, address="1 West Lake Road", legal_id=IDENTITY, bank_account="6222020012345678903")
    change(books, address="2 West Lake Road", bank_account="6222020012345670000", contact_phone="13712345678")
    kept = read(books, profile_of, "A")
    assert (kept["address"], kept["legal_id"]) == ("2 West Lake Road", IDENTITY)
    rows = books.rows("SELECT detail FROM audit WHERE action = 'outlet.change' ORDER BY seq")
    assert [json.loads(row[0]) for row in rows] == [
        {"address": ["", "1 West Lake Road"], "legal_id": ["", "****002X"], "bank_account": ["", "****8903"]},
        {
            "address": ["1 West Lake Road", "2 West Lake Road"],
            "bank_account": ["****8903", "****0000"],
            "contact_phone": ["", "137****5678"],
        },
    ]


NOT_CHANGED = (
    ("NONE", {"address": "x"}, "no outlet NONE"),
    ("A", {"adress": "x"}, "no field is called 'adress'"),
    ("A", {"status": "closed"}, "status is changed by a command of its own"),
    ("A", {"level": "city"}, "level is changed by a command of its own"),
    ("A", {"region": "12"}, "region: region '12'"),
    ("A", {"contract_from": "2026-02-01", "contract_until": "2026-01-31"}, "ends before it begins"),
    ("A", {"address": ""}, "nothing of outlet A would change"),
)


@pytest.mark.parametrize(("code", "said", "says"), NOT_CHANGED)
def test_what_cannot_be_changed(books: Books, code: str, said: dict[str, str], says: str) -> None:
    tables = ("outlet", "outlet_profile", "audit")
    before = [books.rows(f"SELECT * FROM {table}") for table in tables]
    with pytest.raises(RegistryError, match=says):
        change(books, code, **said)
    assert before == [books.rows(f"SELECT * FROM {table}") for table in tables]


def test_what_takes_two_people_is_not_done_by_one(books: Books) -> None:
    """Every field but the plain ones; of those that guard the float the way that weakens it."""
    change(books, pin_policy="above", pin_above="50", residual="10")
    for name, text in (
        ("group", "vip"),
        ("bank", "ICBC"),
        ("bank_account", "6222020012345678903"),
        ("bank_account_name", "Li"),
        ("legal_person", "Li"),
        ("legal_id", IDENTITY),
        ("deposit_due", "1"),
        ("credit_grade", "A"),
        ("manager", "sun"),
        ("contact", "Li"),
        ("contact_phone", "13712345678"),
        ("pin_policy", "never"),
        ("pin_above", "50.01"),
        ("residual", "9.99"),
    ):
        with pytest.raises(RegistryError, match=f"{name}: that takes two people"):
            at_desk(books, lambda desk, said={name: text}: change_profile_txn(desk, "A", said))
    for name, text in (("residual", "11"), ("pin_above", "49"), ("pin_policy", "always"), ("address", "x")):
        at_desk(books, lambda desk, said={name: text}: change_profile_txn(desk, "A", said))
    plain = {field.name for field in FIELDS if field.weight is Weight.PLAIN}
    assert plain == {"name", "language", "address", "region", "type", "contract_no", *CONTRACT}


CONTRACT = ("contract_from", "contract_until")


def test_the_outlet_hears_of_a_change_in_the_language_it_had(books: Books) -> None:
    change(books, language="en")
    assert books.rows("SELECT topic, recipient, language, body FROM outbox WHERE topic = 'outlet.desk'") == [
        ("outlet.desk", "13900000001", "zh", BODY.format(books.clock.ms))
    ]


BODY = '{{"outlet":"A","act":"profile","at_ms":{},"thing":"语言"}}'
