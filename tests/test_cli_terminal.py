"""``aircharge terminal`` in a house with staff: who may do what, keys by two and by three people, on a real file."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from sqlalchemy import text

from aircharge import demo
from aircharge.cli import main
from aircharge.config import load
from aircharge.ledger.audit import append_audit_txn
from aircharge.ledger.terminal_reading import TerminalRow, read_terminal
from aircharge.office import Office
from aircharge.outlets.cards import KeyRingError
from aircharge.outlets.terminal_keys import bound_master, combined, kcv_of, key_lines, with_parity
from aircharge.staffroom import Staffroom
from tests.test_cli_people import House, _number, house

__all__ = ["house"]

T1, T2 = "T0000001", "T0000002"
MERCHANT = ("--merchant", "898330154110001")
HEADER = "terminal,version,family,key,kcv\n"


def key_line(key: bytes, terminal: str = T1, version: int = 1, inside: bytes | None = None) -> str:
    return f"{terminal},{version},3des,{(inside or key).hex()},{kcv_of(key, '3des')}\n"


def random_key(octets: int = 16) -> bytes:
    return with_parity(secrets.token_bytes(octets), "3des")


def secret_file(folder: Path, name: str, content: str) -> str:
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(content)
    return str(path)


def ask_file(house: House, *lines: str, more: tuple[str, ...] = (), code: int = 0) -> str:
    path = secret_file(house.folder, "keys.csv", HEADER + "".join(lines))
    return house.run("wang", "terminal", "key", "file", path, *more, code=code)


def opened(house: House, terminal: str = T1, version: int = 1) -> bytes:
    """The master key in the book, opened with the ring of the folder."""
    desk = Office(load(house.folder / "aircharge.toml"))
    try:
        with desk.store.engine.connect() as txn:
            row = read_terminal(txn, terminal)
        assert isinstance(row, TerminalRow)
        return Staffroom(desk).ring().open(bound_master(row.id, version), row.masters[version])
    finally:
        desk.close()


def counted(house: House, table: str) -> int:
    desk = Office(load(house.folder / "aircharge.toml"))
    try:
        with desk.store.engine.connect() as txn:
            found: Any = txn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
        return int(found)
    finally:
        desk.close()


@pytest.fixture
def shop(house: House) -> House:
    """T1 and T2 stand at A1."""
    for code in (T1, T2):
        house.run("sun", "outlet", "terminal", "A1", code)
    return house


def test_a_terminal_is_bound_shown_blocked_and_freed_by_two(shop: House) -> None:
    assert "is bound" in shop.run("wu", "terminal", "bind", T1, *MERCHANT)
    assert "outside" in shop.run("zheng", "terminal", "bind", T1, *MERCHANT, code=1)
    assert "may not do" in shop.run("zhou", "terminal", "block", T1, code=1)
    assert MERCHANT[1] in shop.run("zhou", "terminal", "show", T1)
    assert T2 in shop.run("wu", "terminal", "list")
    assert T2 not in shop.run("zheng", "terminal", "list")
    assert "outside" in shop.run("zheng", "terminal", "show", T1, code=1)
    for lift in (("terminal", "unblock", T1), ("outlet", "terminal", "A1", T1, "--lift")):
        shop.run("wu", "terminal", "block", T1)
        number = _number(shop.run("sun", *lift))
        assert "blocked" in shop.run("zhou", "terminal", "show", T1)
        assert "two people" in shop.run("sun", "request", "approve", number, code=1)
        assert "may not confirm" in shop.run("zhou", "request", "approve", number, code=1)
        shop.run("qian", "request", "approve", number)
        assert "active" in shop.run("zhou", "terminal", "show", T1)
    assert "not signed in" in shop.run("sun", "terminal", "sign-out", T1, code=1)


def _settled_apart(house: House) -> None:
    """T1 settled batch 1 and differs in a line, batch 2 without its lines yet; and an alarm with a number in it."""
    desk = Office(load(house.folder / "aircharge.toml"))
    now_ms = desk.clock.now_ms()
    sides = ", ".join(
        f"{side}_{what}" for side in ("our", "their") for what in ("sale_n", "sale_fen", "void_n", "void_fen")
    )
    with desk.store.writing() as txn:
        number = txn.execute(text(f"SELECT id FROM terminal WHERE code = '{T1}'")).scalar_one()
        for batch, state in ((1, 3), (2, 2)):
            txn.execute(
                text(
                    f"INSERT INTO pos_batch (terminal_id, batch, state, made_ms, {sides}) "
                    f"VALUES ({number}, {batch}, {state}, {now_ms + batch}, 1, 5000, 0, 0, 2, 8000, 1, 3000)"
                )
            )
        txn.execute(
            text(
                "INSERT INTO pos_detail (terminal_id, batch, trace, their_fen, our_fen, txn_id, said) "
                f"VALUES ({number}, 1, 7, -3000, 0, 0, 1), ({number}, 1, 8, 5000, 5000, 77, 0)"
            )
        )
        append_audit_txn(txn, now_ms, "-", "alarm.batch-differs", T1, {"batch": 1, "traces": [7]})
        append_audit_txn(txn, now_ms, "-", "alarm.rule", "A1", {"target": "13812345678", "rule": "[red]x"})
    desk.close()


def test_the_desk_reads_what_a_settlement_left(shop: House) -> None:
    assert "none" in shop.run("wu", "terminal", "unsettled")
    _settled_apart(shop)
    for words in (["terminal", "batches"], ["terminal", "batches", "--differing", "--terminal", T1]):
        listed = shop.run("wu", *words)
        assert all(said in listed for said in (T1, "awaited", "1 differ", "80.00", "50.00"))
        assert T1 not in shop.run("zheng", *words)
    assert "none" in shop.run("zhou", "terminal", "batches", "--terminal", T2)
    sheet = shop.run("wu", "terminal", "batch", T1, "1")
    assert "only the terminal has it" in sheet
    assert "-30.00" in sheet
    assert "77" not in sheet
    assert "not sent its lines" in shop.run("wu", "terminal", "batch", T1, "2")
    assert "not settled batch 3" in shop.run("wu", "terminal", "batch", T1, "3", code=1)
    assert "outside" in shop.run("zheng", "terminal", "batch", T1, "1", code=1)


def test_alarms_are_read_by_those_of_the_whole_house(shop: House) -> None:
    _settled_apart(shop)
    listed = shop.run("qian", "alarms")
    assert all(said in listed for said in ("batch-differs", T1, "138****5678", "[red]x"))
    assert "13812345678" not in listed
    assert T1 in shop.run("zhou", "alarms", "--about", T1, "--what", "batch-differs")
    assert "none" in shop.run("zhou", "alarms", "--about", T1, "--what", "rule")
    shop.run("wu", "alarms", code=1)


def test_the_demos_terminal_says_whether_all_was_answered_00(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["simulate", "--folder", str(tmp_path), "pos", "--json", "sale", "13812345678", "-3"]
    nobody = CliRunner().invoke(main, words)
    assert (nobody.exit_code, "no demo is running" in nobody.output) == (1, True)
    (tmp_path / f"{demo.TERMINAL}.key").touch()
    said: list[tuple[str, ...]] = []

    def answered(running: object, key: Path, asked: tuple[str, ...]) -> tuple[int, list[str]]:
        said.append(asked)
        return 1, ["[red]26"]

    monkeypatch.setattr(demo, "_terminal", answered)
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, result.output) == (1, "[red]26\n")
    assert said == [("--json", "sale", "13812345678", "-3")]


def test_a_file_of_keys_comes_by_two_people(shop: House) -> None:
    one, two = random_key(), random_key(24)
    lines = key_line(one), key_line(two, T2)
    said = ask_file(shop, *lines, more=("--dry-run",))
    assert ("nothing is asked" in said, counted(shop, "terminal_key")) == (True, 0)
    assert "none" in shop.run("li", "request", "list")
    said = ask_file(shop, *lines)
    number = _number(said)
    shown = shop.run("li", "terminal", "key", "compare", number)
    for key in (one, two):
        assert kcv_of(key, "3des") in shown
    assert "may not confirm" in shop.run("sun", "request", "approve", number, code=1)
    assert "two people" in shop.run("wang", "request", "approve", number, code=1)
    listed = shop.run("li", "request", "list")
    told = shop.run("li", "request", "approve", number)
    assert (opened(shop), opened(shop, T2)) == (one, two)
    sheet = shop.run("zhou", "terminal", "show", T1)
    assert kcv_of(one, "3des") in sheet
    assert "pending" in sheet
    output = (said + shown + listed + told + sheet).lower()
    assert not any(key.hex() in output for key in (one, two))
    assert "2 keys are wrapped" in shop.run("wang", "terminal", "key", "rewrap")
    assert opened(shop) == one
    assert "is retired" in shop.run("qian", "terminal", "key", "retire", T1, "1")


def test_the_kek_is_changed_under_way(shop: House) -> None:
    key, later = random_key(), random_key()
    shop.run("li", "request", "approve", _number(ask_file(shop, key_line(key))))
    number = _number(ask_file(shop, key_line(later, T2)))  # waits, sealed under the old one
    secret_file(shop.folder, "kek-2", secrets.token_hex(32))
    toml = shop.folder / "aircharge.toml"
    kept = 'kek_file = "keys/kek"'
    assert kept in toml.read_text()
    new = 'kek_file = "kek-2"\nkek_version = 2\nkek_old = { "1" = "keys/kek" }'
    toml.write_text(toml.read_text().replace(kept, new))
    assert opened(shop) == key
    assert "1 keys are wrapped" in shop.run("wang", "terminal", "key", "rewrap")
    assert opened(shop) == key
    shop.run("li", "request", "approve", number)
    assert opened(shop, T2) == later
    toml.write_text(toml.read_text().replace(new, new.partition("\nkek_old")[0]))
    assert opened(shop) == key
    with pytest.raises(KeyRingError, match="no KEK 1"):
        opened(shop, T2)


def test_a_file_with_one_wrong_line_is_not_taken(shop: House) -> None:
    good = random_key()
    wrong = f"{T2},1,3des,{secrets.token_hex(16)},000000\n"
    said = ask_file(shop, key_line(good), wrong, code=1)
    assert "line 3" in said
    assert "nothing has changed" in said
    assert good.hex() not in said
    assert (counted(shop, "terminal_key"), "none" in shop.run("li", "request", "list")) == (0, True)
    assert "may not do" in shop.run("sun", "terminal", "key", "rewrap", code=1)


def test_keys_wrapped_for_transport(shop: House) -> None:
    transport, key = secrets.token_bytes(32), random_key()
    path = secret_file(shop.folder, "zmk", transport.hex() + "\n")
    line = key_line(key, inside=aes_key_wrap(transport, key))
    more = "--transport", "aes-kw", "--transport-key", path
    shop.run("li", "request", "approve", _number(ask_file(shop, line, more=more)))
    assert opened(shop) == key
    other = secret_file(shop.folder, "other", secrets.token_hex(16))
    line = key_line(key, T2, inside=aes_key_wrap(transport, key))
    assert "not wrapped under" in ask_file(shop, line, more=(*more[:3], other), code=1)
    for content in ("no key", "\u952e" * 32):
        other = secret_file(shop.folder, "other", content)
        assert "hexadecimal" in ask_file(shop, line, more=(*more[:3], other), code=1)


def test_two_custodians_and_a_third_who_compares(shop: House) -> None:
    pieces = [random_key(), random_key()]
    key = combined(pieces)

    def bring(who: str, part: int, piece: bytes, code: int = 0) -> str:
        typed = f"{piece.hex(' ', 2)}\n{kcv_of(piece, '3des')}\n"
        words = "terminal", "key", "component", T1, "1", "--part", str(part), "--of", "2"
        said = shop.run(who, *words, typed=typed, code=code)
        assert piece.hex(" ", 2) not in said
        return said

    assert "may not do" in bring("sun", 1, pieces[0], code=1)
    assert "0 keys complete" in bring("wang", 1, pieces[0])
    assert "no one has two" in bring("wang", 2, pieces[1], code=1)
    assert kcv_of(pieces[0], "3des") in shop.run("zhou", "terminal", "show", T1)
    said = bring("qian", 2, pieces[1])
    assert kcv_of(key, "3des") in said
    assert counted(shop, "key_component") == 0
    number = _number(said)
    assert kcv_of(key, "3des") in shop.run("wang", "terminal", "key", "compare", number)
    assert "brought a part" in shop.run("wang", "request", "approve", number, code=1)
    assert "two people" in shop.run("qian", "request", "approve", number, code=1)
    shop.run("li", "request", "approve", number)
    assert opened(shop) == with_parity(key, "3des")


def test_components_of_many_keys_by_file(shop: House) -> None:
    pieces = [[random_key(), random_key()] for _ in range(2)]
    for who, part, column in (("wang", "1", pieces[0]), ("li", "2", pieces[1])):
        lines = [key_line(piece, code) for piece, code in zip(column, (T1, T2), strict=True)]
        path = secret_file(shop.folder, f"part-{part}", HEADER + "".join(lines))
        said = shop.run(who, "terminal", "key", "component-file", path, "--part", part, "--of", "2")
    shop.run("qian", "request", "approve", _number(said))
    for at, code in enumerate((T1, T2)):
        whole = combined([pieces[0][at], pieces[1][at]])
        assert opened(shop, code) == with_parity(whole, "3des")


def test_a_key_begun_is_given_up(shop: House) -> None:
    piece = random_key()
    words = "terminal", "key", "component", T1, "1", "--part", "1", "--of", "3"
    shop.run("wang", *words, typed=f"{piece.hex()}\n{kcv_of(piece, '3des')}\n")
    assert "1 components" in shop.run("li", "terminal", "key", "retire", T1, "1")
    assert counted(shop, "key_component") == 0


def test_keys_made_here_go_out_once_in_components(shop: House) -> None:
    folder = shop.folder / "injection"
    folder.mkdir()
    words = "terminal", "key", "generate", T1, T2, "--folder", str(folder), "--of", "3", "--octets", "24"
    said = shop.run("wang", *words)
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == [f"component-{part}.csv" for part in (1, 2, 3)]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    columns = [key_lines(path.read_bytes())[0] for path in files]
    assert not any(line.key.hex().upper() in said.upper() for column in columns for line in column)
    shop.run("li", "request", "approve", _number(said))
    for at, code in enumerate((T1, T2)):
        whole = combined([column[at].key for column in columns])
        assert opened(shop, code) == with_parity(whole, "3des")
        assert kcv_of(whole, "3des") in said
    before = [path.read_bytes() for path in files]
    elsewhere = "terminal", "key", "generate", T1, "--folder", str(shop.folder)
    assert "nothing has changed" in shop.run("wang", *elsewhere, code=1)  # version 1 waits
    assert not (shop.folder / files[0].name).exists()
    for code in (T1, T2):
        shop.run("li", "terminal", "key", "retire", code, "1")
    files[0].unlink()
    assert "is there already" in shop.run("wang", *words, code=1)
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == before[1:]
    assert "none" in shop.run("li", "request", "list")
