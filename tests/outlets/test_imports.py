"""Files of outlets: what is read in which encoding, every fault with its line and column, all or nothing, and back."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aircharge.ledger.audit import first_bad_audit
from aircharge.outlets.exports import FILE_COLUMNS, export_rows
from aircharge.outlets.fields import BY_NAME
from aircharge.outlets.imports import Draft, Powers, draft_txn, import_txn
from aircharge.outlets.registry import Desk, RegistryError, RegistrySettings
from aircharge.outlets.sheets import ENCODINGS, read_sheet, write_sheet
from aircharge.outlets.tree import downline, moves
from aircharge.values import Pin
from tests.ledger.desk import PINS, Books
from tests.outlets.desk import at_desk, read

TABLES = (
    "outlet",
    "outlet_profile",
    "outlet_phone",
    "outlet_move",
    "terminal",
    "account",
    "balance",
    "credential",
)

ALONE = Powers(alone=True)
HOUSE = """网点编号,网点名称,级别,上级编号,状态,绑定号码,县区代码,法人证件号,银行账号,合同开始,保证金,终端编号
S1,"城南, 便利店",网点,D1,,13900000101;13900000102:query,330106,11010519491231002X,\
6222020012345678903,2026-01-31,20000,T1;T2:phone-pos
D1,西湖代理,代理商,C1,正常,13900000103,,,,,,
P1,浙江,省,,active,,,,,,,
C1,杭州,市,P1,active,,,,,,,
"""


def token(size: int) -> bytes:
    """Octets that differ from call to call."""
    return bytes(next(_octets) for _ in range(size))


_octets = itertools.cycle(range(251))


def bring(books: Books, said: str | bytes, **more: Any) -> tuple[Draft, list[tuple[str, Pin]]]:
    octets = said.encode() if isinstance(said, str) else said
    return at_desk(books, lambda desk: import_txn(desk, octets, PINS, token, **more))  # type: ignore[no-any-return]


def faults(books: Books, said: str | bytes, **more: Any) -> list[str]:
    """What a dry run says."""
    octets = said.encode() if isinstance(said, str) else said
    with books.engine.connect() as txn:
        draft = draft_txn(Desk(txn, books.clock.ms, "li"), octets, **more)
    return [str(fault) for fault in draft.faults]


def everything(books: Books) -> list[Any]:
    return [books.rows(f"SELECT * FROM {table}") for table in (*TABLES, "audit")]


def file_of(books: Books, encoding: str = "utf-8-bom", *, chinese: bool = False) -> bytes:
    return write_sheet(read(books, export_rows, closed=True), FILE_COLUMNS, encoding, chinese=chinese)


@pytest.mark.parametrize("encoding", [*ENCODINGS, "utf-8"])
def test_a_house_arrives_whole(books: Books, encoding: str) -> None:
    draft, secrets = bring(books, HOUSE.encode(ENCODINGS[encoding]))
    assert (draft.faults, len(draft.new), draft.unchanged) == ([], 4, 0)
    assert [row["code"] for row in read(books, downline, "P1")] == ["C1", "D1", "S1"]
    [shown] = books.rows(
        "SELECT o.name, o.status, p.region, p.legal_id, p.contract_from, p.deposit_due_fen"
        " FROM outlet o JOIN outlet_profile p ON p.outlet_id = o.id WHERE o.code = 'S1'"
    )
    assert shown == ("城南, 便利店", 0, "330106", "11010519491231002X", 20260131, 2_000_000)
    phones = books.rows(
        "SELECT msisdn, rights FROM outlet_phone WHERE msisdn LIKE '139000001%' ORDER BY msisdn"
    )
    assert phones == [("13900000101", 3), ("13900000102", 2), ("13900000103", 3)]
    assert books.rows("SELECT code, kind FROM terminal ORDER BY code") == [("T1", "pos"), ("T2", "phone-pos")]
    assert books.value("SELECT count(*) FROM account") == 7 + (2 + 4) * 3
    assert books.money("S1") == (0, 0)
    assert [code for code, _ in secrets] == ["D1", "S1"]  # who has no phone has no PIN
    assert [row["parent"] for row in read(books, moves, "S1")] == ["D1"]


def test_initial_pins_are_right_and_must_be_changed(books: Books) -> None:
    _, secrets = bring(books, HOUSE)
    for code, pin in secrets:
        question = (
            "SELECT c.outlet_id, c.pin_mac, c.salt, c.pepper_ver, c.must_change"
            " FROM credential c JOIN outlet o ON o.id = c.outlet_id WHERE o.code = :code"
        )
        [(outlet_id, mac, salt, version, must_change)] = books.rows(question, code=code)
        assert bytes(mac) == PINS.mac(version, outlet_id, bytes(salt), pin.secret)
        assert must_change == 1
        assert pin.secret not in repr(books.rows("SELECT * FROM audit"))


def test_the_audit_has_the_file_and_each_outlet(books: Books) -> None:
    draft, _ = bring(books, HOUSE)
    rows = books.rows("SELECT action, object, detail FROM audit WHERE actor = 'li' ORDER BY seq")
    assert [row[:2] for row in rows] == [
        ("outlet.import", draft.digest[:16]),
        ("outlet.add", "P1"),
        ("outlet.add", "C1"),
        ("outlet.add", "D1"),
        ("outlet.add", "S1"),
    ]
    assert draft.digest in rows[0][2]
    assert "13900000101" not in repr(rows)
    assert "11010519491231002X" not in repr(rows)
    with books.engine.connect() as txn:
        assert first_bad_audit(txn) is None


@pytest.mark.parametrize("chinese", [False, True])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_exported_file_imports_again_unchanged(books: Books, encoding: str, chinese: bool) -> None:
    bring(books, HOUSE)
    said = "code,name,address,contact_phone\nS1,'=1+1,'@home,+86 571 88886666\n"
    assert bring(books, said)[0].faults == []
    file = file_of(books, encoding, chinese=chinese)
    before = everything(books)
    draft, secrets = bring(books, file)
    assert (draft.faults, draft.new, draft.changes, draft.unchanged, secrets) == ([], [], [], 6, [])
    assert everything(books)[:-1] == before[:-1]  # but for the audit's one row


def test_an_exported_file_makes_the_same_house_elsewhere() -> None:
    here, there = Books().setup({"A": 0}), Books().setup({"B": 0})
    bring(here, HOUSE)
    file = file_of(here)
    draft, _ = bring(there, file, powers=ALONE)
    assert draft.faults == []
    assert [line for line in file_of(there).splitlines() if not line.startswith(b"B,")] == file.splitlines()
    for books in (here, there):
        books.engine.dispose()


def test_master_data_and_place_may_change_and_nothing_else(books: Books) -> None:
    bring(books, HOUSE)
    draft, secrets = bring(
        books,
        "code,name,parent,bank_account\nS1,城北便利店,P1,6222020012345670000\nC1,杭州,P1,\n",
        powers=ALONE,
    )
    assert (draft.faults, secrets, draft.unchanged) == ([], [], 1)
    assert [row["parent"] for row in read(books, moves, "S1")] == ["D1", "P1"]
    [change] = draft.changes
    assert change.shown == {"name": ["城南, 便利店", "城北便利店"], "bank_account": ["****8903", "****0000"]}
    assert books.value("SELECT name FROM outlet WHERE code = 'S1'") == "城北便利店"
    assert faults(books, "code,status,phones,level,terminals\nS1,active,13900000101,city,T1\n") == [
        "line 2, level: is changed by a command of its own; it is outlet now",
        "line 2, phones: is changed by a command of its own: outlet phone",
        "line 2, status: is changed by a command of its own; it is pending now",
        "line 2, terminals: is changed by a command of its own: outlet terminal",
    ]


FAULTY = """code,name,level,parent,phones,region,contract_from,contract_until,terminals,status
N1,"two
lines",outlet,,13900000201,,,,,
N2,=cmd,outlet,,13900000202,,,,,
N 3,x,outlet,,13900000203,,,,,
N4,x,shop,,13900000204,12,2026-02-30,,,
N5,x,outlet,NONE,13900000205,,,,,
N6,x,outlet,N5,13900000206,,,,,
N7,x,distributor,N7,13900000207,,,,,
A,x,outlet,,13900000001,,,,,
N8,x,outlet,,13900000001,,,,,
N9,x,outlet,,,,,,,
N10,x,outlet,,13900000202,,2026-02-01,2026-01-01,,
N10,x,outlet,,13900000211,,,,,
N11,x,outlet,,13900000212;13900000212,,,,,
N12,x,outlet,,13900000213:fly,,,,T!,closed
N13,x,outlet
"""
FAULTS = [
    "line 2, name: a control character or one that does not exist",
    "line 4, name: begins like a formula: put an apostrophe before it",
    "line 5, code: outlet code 'N 3': 1 to 16 letters, digits, - and _",
    "line 6, contract_from: there is no day 2026-02-30",
    "line 6, level: 'shop': province, city, distributor, outlet",
    "line 6, region: region '12': six digits of GB/T 2260",
    "line 7, parent: no outlet NONE",
    "line 8, parent: N6 is an outlet: it cannot stand below N5, an outlet; name a parent that is a province or a"
    " city or a distributor, or raise that one first (outlet move, --level)",
    "line 9, parent: outlet N7 cannot stand below itself",
    "line 11, phones: number 139****0001 is bound to an outlet already",
    "line 11, phones: *0001 stands in line 10 already",
    "line 12, phones: an outlet needs a phone",
    "line 13, contract_until: the contract ends before it begins",
    "line 13, phones: *0202 stands in line 4 already",
    "line 14, code: N10 stands in line 13 already",
    "line 15, phones: the same one stands there twice",
    "line 16, phones: right 'fly': recharge, query, admin, joined by +",
    "line 16, status: a new outlet is pending, active or suspended",
    "line 16, terminals: terminal 'T!': 1 to 16 letters, digits, - and _",
    "line 17: 3 cells where the header has 10",
]


def test_every_fault_is_named_with_line_and_column_and_nothing_is_done(books: Books) -> None:
    before = everything(books)
    assert sorted(faults(books, FAULTY)) == sorted(FAULTS)
    draft, secrets = bring(books, FAULTY)
    assert len(draft.faults) == len(FAULTS)
    assert secrets == []
    assert everything(books) == before


UNREADABLE: tuple[tuple[bytes, str], ...] = (
    (b"", "line 1: the file is empty"),
    (b"\r\n \r\n", "line 1: the file is empty"),
    (b"name,phones\nx,y\n", "line 1, code: the column is missing"),
    (b"code,colour\nN1,red\n", "line 1, colour: no column is called that"),
    ("code,网点编号\nN1,N1\n".encode(), "line 1, code: the column is there twice"),
    (b'code,name\nN1,"open\n', "line 2: no CSV from here on"),
    (b'code,name\nN1,"a"b\n', "line 2: no CSV from here on"),
)


@pytest.mark.parametrize(("octets", "says"), UNREADABLE)
def test_a_file_that_is_none(books: Books, octets: bytes, says: str) -> None:
    [said] = faults(books, octets)
    assert said.startswith(says)


def test_a_file_that_cannot_be_read_at_all(books: Books) -> None:
    for octets, encoding, says in (
        ("code\n".encode("utf-16"), "", "UTF-16"),
        (b"code,name\nN1,\xff\xff\n", "", "line 2: these octets are not utf-8 or gb18030"),
        ("code,name\nN1,网点\n".encode("gb18030"), "utf-8", "line 2: these octets are not utf-8"),
        (b"code\n", "latin-1", "encoding 'latin-1'"),
    ):
        with pytest.raises(RegistryError, match=says):
            faults(books, octets, encoding=encoding)


def test_a_file_has_bounds() -> None:
    small = RegistrySettings(file_lines_max=2, file_octets_max=100)
    sheet = read_sheet(b"code\nN1\nN2\nN3\nN4\n", small)
    assert [str(fault) for fault in sheet.faults] == ["line 4: more than 2 outlets"]
    with pytest.raises(RegistryError, match="101 octets: at most 100"):
        read_sheet(b"x" * 101, small)


def test_a_person_changes_only_his_part_of_the_tree(books: Books) -> None:
    bring(books, HOUSE)
    inside = {row[0] for row in books.rows("SELECT id FROM outlet WHERE code IN ('D1', 'S1')")}
    said = "code,parent,phones\nN1,D1,13900000201\nN2,,13900000202\nN3,C1,13900000203\nA,,\nS1,D1,\n"
    assert faults(books, said, powers=Powers(inside)) == [
        "line 3, parent: that place is outside the part of the tree you work in",
        "line 4, parent: that place is outside the part of the tree you work in",
        "line 5, code: that outlet is outside the part of the tree you work in",
        "line 6, phones: is changed by a command of its own: outlet phone",
    ]


def test_a_file_does_no_more_than_its_bringer_may_by_commands(books: Books) -> None:
    """What takes two people is left as it was, and is the caller's to ask for; who may not move outlets moves none."""
    bring(books, HOUSE, powers=ALONE)
    said = "code,name,group,bank_account,pin_policy,pin_above\nS1,城北,vip,6222020012345670000,never,5\n"
    draft, _ = bring(books, said)
    assert [change.shown for change in draft.changes] == [{"name": ["城南, 便利店", "城北"]}]
    assert draft.heavy == [
        ("S1", "profile.money", {"group": "vip", "bank_account": "6222020012345670000"}),
        ("S1", "profile.guard", {"pin_policy": "never", "pin_above": "5.00"}),
    ]
    kept = books.rows("SELECT group_code, pin_policy, pin_above_fen FROM outlet WHERE code = 'S1'")
    assert kept == [("standard", 2, 0)]
    draft, _ = bring(books, "code,phones,group,pin_policy,bank_account\nN1,13900000201,vip,never,62220200\n")
    assert draft.heavy == [
        ("N1", "profile.money", {"group": "vip"}),
        ("N1", "profile.guard", {"pin_policy": "never"}),
    ]
    assert books.rows("SELECT group_code, pin_policy FROM outlet WHERE code = 'N1'") == [("standard", 2)]
    assert faults(books, "code,parent\nS1,P1\n", powers=Powers(may_move=False)) == [
        "line 2, parent: it stands below D1: you may not move outlets"
    ]


CELL = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Cn", "Co")), max_size=12).map(str.strip)
LOOSE = st.text(alphabet="=+-@'＝\tab ,\"\n", max_size=6).map(str.strip)


@given(st.lists(st.tuples(CELL | LOOSE, CELL | LOOSE), max_size=5), st.sampled_from(sorted(ENCODINGS)))
def test_any_cell_comes_back_as_it_was_written(rows: list[tuple[str, str]], encoding: str) -> None:
    octets = write_sheet([("N1", *row) for row in rows], ("code", "name", "address"), encoding)
    sheet = read_sheet(octets, RegistrySettings(), encoding)
    assert sheet.faults == []
    assert [(line.cells["name"], line.cells["address"]) for line in sheet.lines] == rows


def test_no_cell_is_a_formula() -> None:
    for sign in "=+-@\t\r＝＋－＠":
        [_, line] = write_sheet([(f"{sign}1",)], ("name",), "utf-8").decode().splitlines()[:2]
        assert line.lstrip('"').startswith("'")
    assert BY_NAME["name"].read("'=1") == "'=1"
