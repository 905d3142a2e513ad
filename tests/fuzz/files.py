"""What people hand in: SMS texts, sheets of outlets, files of payments and recharges, the configuration."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from aircharge.config import Config, load
from aircharge.errors import ConfigError, Reason, Refusal
from aircharge.ledger.bank_file import BankLine, read_bank_lines
from aircharge.ledger.batch_file import LINES_MAX, BatchFileError, BatchLine, read_lines
from aircharge.ledger.risk import RuleSet
from aircharge.outlets.desk import RegistryError, RegistrySettings
from aircharge.outlets.rulebook import _read as read_rules
from aircharge.outlets.sheets import Sheet, read_sheet, write_sheet
from aircharge.outlets.wishes import Wish, read_wishes
from aircharge.sms import grammar
from aircharge.sms.grammar import ServiceKind, parse
from aircharge.sms.phrases import load_templates
from aircharge.switch.inquiry import _day_began_ms
from aircharge.values import AMOUNT_MAX_FEN, Pin, yuan_text
from tests.fuzz.target import Target, must

__all__ = ["TARGETS"]

_ROOT: Final = Path(__file__).resolve().parents[2]

_NOW_MS: Final = 1_795_408_147_291

# -- SMS texts ---------------------------------------------------------------------------------------------


def _written(ask: grammar.Ask) -> str:
    """An ask as the manual writes it."""

    def amount(fen: int) -> str:
        return yuan_text(fen) if fen % 100 else str(fen // 100)

    def repeated(fen: int, repeat: int) -> str:
        return amount(fen) + (f"*{repeat}" if repeat > 1 else "")

    pin = getattr(ask, "pin", None)
    words: list[str]
    match ask:
        case grammar.Recharge():
            words = [str(ask.target), repeated(ask.amount_fen, ask.repeat)]
        case grammar.Reverse():
            words = ["14", str(ask.target), amount(ask.amount_fen)]
        case grammar.TakeBack():
            words = ["14", ask.about]
        case grammar.Send():
            words = ["15", ask.party, repeated(ask.amount_fen, ask.repeat)]
        case grammar.Deposit():
            words = ["16", amount(ask.amount_fen)]
        case grammar.NewPin():
            words = ["17", ask.old.secret, ask.new.secret, ask.again.secret]
        case grammar.Earned():
            words = ["19", *([amount(ask.amount_fen)] if ask.amount_fen else [])]
        case grammar.Yes():
            words = ["Y"]
        case grammar.Status():
            words = ["12", ask.about]
        case grammar.Recap():
            words = ["13", *([ask.day] if ask.day else [])]
        case grammar.Balance() | grammar.Last() | grammar.History():
            words = [{grammar.Balance: "00", grammar.Last: "11", grammar.History: "10"}[type(ask)]]
        case _:
            words = ["?"]
    consent = getattr(ask, "consent", "")
    return " ".join([*words, *([pin.secret] if pin else []), *([consent] if consent else [])])


def _said(data: bytes) -> list[tuple[ServiceKind, grammar.Ask]]:
    text = data.decode("utf-8", "surrogateescape")
    found = []
    for kind in ServiceKind:
        try:
            found.append((kind, parse(text, kind)))
        except Refusal as refusal:
            refused = kind is ServiceKind.RECHARGE and refusal.reason in (Reason.NUMBER, Reason.AMOUNT)
            must(refused, f"{kind}: {refusal}")
    return found


def _said_again(found: list[tuple[ServiceKind, grammar.Ask]], data: bytes) -> None:
    for kind, ask in found:
        for name in ("pin", "old", "new", "again"):
            pin: Pin | None = getattr(ask, name, None)
            assert pin is None or (len(pin.secret) == 6 and pin.secret.isascii() and pin.secret.isdecimal())
        amount_fen = getattr(ask, "amount_fen", 1)
        assert 0 <= amount_fen <= AMOUNT_MAX_FEN
        assert parse(_written(ask), kind) == ask
        if isinstance(ask, grammar.Recap):
            with suppress(Refusal):  # no such day
                assert _day_began_ms(ask.day, _NOW_MS, 480) < 2**53


# -- sheets ------------------------------------------------------------------------------------------------

_SETTINGS: Final = RegistrySettings(file_lines_max=50, file_octets_max=70_000)


def _sheet(data: bytes) -> tuple[Sheet, list[Wish]]:
    sheet = read_sheet(data, _SETTINGS)
    form = len(sheet.faults)
    wishes = read_wishes(sheet)
    assert len(sheet.lines) <= _SETTINGS.file_lines_max
    assert len(wishes) + len(sheet.faults) - form >= len(sheet.lines)
    return sheet, wishes


def _sheet_again(found: tuple[Sheet, list[Wish]], data: bytes) -> None:
    sheet, _ = found
    assert sheet.columns or sheet.faults
    if any(fault.column not in sheet.columns for fault in sheet.faults if fault.column) or not sheet.columns:
        return  # the header itself was refused
    for fault in sheet.faults:
        assert fault.line >= 1
        str(fault)
    for chinese in (False, True):
        rows = [[line.cells[name] for name in sheet.columns] for line in sheet.lines]
        for encoding in ("utf-8-bom", "gb18030"):
            again = read_sheet(
                write_sheet(rows, sheet.columns, encoding, chinese=chinese), _SETTINGS, encoding
            )
            assert (again.columns, again.faults) == (sheet.columns, [])
            kept = [row for row in rows if any(row)]
            assert [[line.cells[name] for name in again.columns] for line in again.lines] == kept


# -- payments and recharges --------------------------------------------------------------------------------


def _bank(data: bytes) -> list[BankLine]:
    return read_bank_lines(data, 480)


def _bank_sound(lines: list[BankLine], data: bytes) -> None:
    assert 0 < len(lines) <= LINES_MAX
    days = {(line.reference, (line.paid_ms // 60_000 + 480) // 1_440) for line in lines}
    assert len(days) == len(lines), "a reference counts once on a day"
    for line in lines:
        assert 0 < line.amount_fen <= AMOUNT_MAX_FEN
        assert 0 <= line.paid_ms < 2**53
        assert line.reference == line.reference.strip() != ""
        assert line.reference.isprintable(), "a reference that would break a line of the log"


def _batch_sound(lines: list[BatchLine], data: bytes) -> None:
    assert 0 < len(lines) <= LINES_MAX
    for line in lines:
        assert (line.reason is Reason.OK) == (line.amount_fen > 0)
        if line.reason is Reason.OK:
            again = f"{line.msisdn},{yuan_text(line.amount_fen)}".encode()
            assert read_lines(again) == [BatchLine(1, line.msisdn, line.amount_fen)]


# -- the configuration -------------------------------------------------------------------------------------


@cache
def _scratch() -> Path:
    """One file of this process, written again for every example."""
    return Path(tempfile.mkdtemp(prefix="fuzz-")) / "aircharge.toml"


def _config(data: bytes) -> Config:
    _scratch().write_bytes(data)
    try:
        return load(_scratch())
    except ConfigError as error:
        must(error.path == str(_scratch()) and error.key != "", str(error))
        raise


def _wordings(data: bytes) -> object:
    _scratch().write_bytes(data)
    return load_templates(str(_scratch()))


def _rules(data: bytes) -> RuleSet:
    return read_rules(data.decode("utf-8", "replace"))


# -- where the corpora begin -------------------------------------------------------------------------------

_TEXTS: Final = (
    "13812345678 50", "１３８１２３４５６７８＊５０", "+86 138-1234-5678,49.5元*2,736194", "00", "11 736194", "10",
    "12 12345678", "13 1123 736194", "13", "14 13812345678 50 736194 4711", "14 12345678 736194 4711",
    "15 GX-17 1000*2 736194", "16 5000", "17 736194 415926 415926", "19 50 736194", "19 736194", "Y", "是 736194",
    "0571 12345678 50", "13812345678 50 1,234567", "138 12345678 0.001",
)  # fmt: skip


def _sheet_seeds() -> Iterator[bytes]:
    head = "code,parent,name,phones,terminals,level,pin_above,contract_from\r\n"
    yield (
        head + 'GX-17,,"阳泉, 一号",13900000001;13900000002:query,T1;T2:phone-pos,outlet,50,2026-11-23\r\n'
    ).encode()
    yield ("\ufeff" + head + "A,,'=1+1,+8613900000001,,,,\r\n").encode()
    yield "网点编号,网点名称,县区代码\n1,甲,140300\n1,乙,99\n".encode("gb18030")
    yield b"code,legal_id,contact_phone\nA,11010519491231002X,+86 351 1234567\n"
    yield b'code\n"A\n'


def _config_seeds() -> Iterator[bytes]:
    yield b"".join(
        line + b"\n"
        for line in (_ROOT / "examples" / "aircharge.toml").read_bytes().splitlines()
        if line and not line.startswith(b"#")
    )
    yield b"[daemon]\nstop_wait_s = 1\nnode = 3\n[ledger]\nurl = 'sqlite:///x.db'\n"
    yield b"[cards.old]\nciphers = ['des-cbc']\ncc_length = 4\ntar = 'a1c001'\nkey_family = '3des'\n"
    yield b"[days]\n[lease]\n[proof]\n[seal]\n[notices]\n[sms]\n"


def _rule_seeds() -> Iterator[bytes]:
    yield b'{"guard": "all", "rules": []}'
    for when in (
        '"channel": ["sms"], "operation": ["recharge"], "operator": [1], "group": ["new"], "outlet": ["GX-17"]',
        '"amount_from_fen": 100, "amount_to_fen": 5000, "hours": [22, 6], "segment": ["138"]',
        '"outlet_days_below": 7, "phone_days_below": 1, "first_time": true, "repeated": false, "listed": true',
        '"counted": {"subject": "target", "period": "day", "orders": 3, "amount_fen": 100}',
    ):
        yield f'{{"guard": ["a"], "rules": [{{"name": "r", "then": "hold", "when": {{{when}}}}}]}}'.encode()


TARGETS: Final = {
    "sms-grammar": Target(
        _said,
        _said_again,
        (),
        copies=2,
        bombs=(b"1" * 4000, b"14 " * 2000),
        seeds=lambda: (t.encode() for t in _TEXTS),
    ),
    "sheet": Target(
        _sheet,
        _sheet_again,
        (RegistryError,),
        copies=16,
        bombs=(b"code\n" + b"a\n" * 20_000, b"," * 60_000, b'"' + b"a" * 60_000, b"x" * 100_000),
        seeds=_sheet_seeds,
    ),
    "bank-file": Target(
        _bank,
        _bank_sound,
        (BatchFileError,),
        copies=16,
        bombs=(b"a\n" * 100_000, b'"' + b"," * 100_000),
        seeds=lambda: (b"reference,amount,time\nR1,100.50,2026-11-23 10:00\n", b"R2,1,2026-11-23 10:00:59\n"),
    ),
    "batch-file": Target(
        read_lines,
        _batch_sound,
        (BatchFileError,),
        copies=16,
        bombs=(b"a\n" * 100_000, b'"' + b"," * 100_000),
        seeds=lambda: (
            "号码,金额\n13812345678,50\n138-1234-5679,49.5\n".encode(),
            b"\xef\xbb\xbf86138,x\n,\n",
        ),
    ),
    "rules": Target(_rules, allowed=(RegistryError,), seeds=_rule_seeds),
    "config": Target(
        _config,
        allowed=(ConfigError,),
        seeds=_config_seeds,
    ),
    "wordings": Target(
        _wordings,
        allowed=(ConfigError,),
        seeds=lambda: (
            b'[zh]\n"outlet.last.none" = "x"\n[en]\n"outlet.history" = ["{lines}", "a"]\n',
            b'[en]\nrecharged = "a {target}"\n',
        ),
    ),
}
