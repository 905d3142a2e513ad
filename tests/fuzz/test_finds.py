"""What fuzzing found, each once more (docs/proof/finds.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from aircharge.config import load
from aircharge.errors import ConfigError, Refusal, WireError
from aircharge.ledger.bank_file import read_bank_lines
from aircharge.ledger.batch_file import LINES_MAX, BatchFileError, read_lines
from aircharge.outlets.desk import RegistryError
from aircharge.outlets.rulebook import _read as read_rules
from aircharge.sms.phrases import load_templates
from aircharge.switch.inquiry import _day_began_ms
from aircharge.wire.framing import SmppSplitter, Splitter
from aircharge.wire.gsm import pack, unpack
from aircharge.wire.operator.ber import ApduSplitter
from aircharge.wire.smpp.constants import Command, MessageState
from aircharge.wire.smpp.pdu import Pdu
from aircharge.wire.smpp.receipt import parse_receipt
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize(
    ("octets", "key"),
    [
        (b"# \xe7\xbd\x91 in GB18030: \xcd\xf8\n", "-"),
        (b"x = " + b"[" * 5000, "-"),
        (b"x = " + b"9" * 5000, "-"),
        (b"[daemon]\nstop_wait_s = 1" + b"0" * 400, "daemon.stop_wait_s"),
        (b"[daemon]\nstop_wait_s = nan", "daemon.stop_wait_s"),
        (b"[daemon]\noperator_wait_s = -inf", "daemon.operator_wait_s"),
    ],
)
def test_a_configuration_that_no_parser_takes_is_refused_by_name(
    tmp_path: Path, octets: bytes, key: str
) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(octets)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert (caught.value.path, caught.value.key) == (str(path), key)
    if key == "-":
        with pytest.raises(ConfigError):
            load_templates(str(path))


@pytest.mark.parametrize(
    "line",
    [
        "R1,100,0001-01-01 00:00",  # eight hours before it there is no year
        "R1,100,1999-12-31 23:59",
        "R\x7f1,100,2026-11-23 10:00",
        "R\u200b1,100,2026-11-23 10:00",  # beside R1 it would count a second time
        '"R\n1",100,2026-11-23 10:00',
    ],
)
def test_a_payment_with_a_time_or_a_reference_that_cannot_be(line: str) -> None:
    with pytest.raises(BatchFileError, match=r"line [12]: "):
        read_bank_lines(f"{line}\n".encode(), 480)


def test_a_long_file_is_not_gathered_before_it_is_refused() -> None:
    with pytest.raises(BatchFileError, match="more than"):
        read_lines(b"a\n" * (LINES_MAX + 1))
    assert len(read_lines("号码,金额\n".encode() + b"a\n" * LINES_MAX)) == LINES_MAX


def test_a_key_of_a_receipt_begins_behind_any_letter_that_is_not_of_its_own_alphabet() -> None:
    body = "id:7 done date:2611230401 完成stat:DELIVRD".encode("utf-16-be")
    receipt = parse_receipt(Pdu(Command.DELIVER_SM, 1, 0, {"esm_class": 4, "short_message": body}))
    assert receipt is not None
    assert receipt.state is MessageState.DELIVERED


def test_a_day_before_all_time_is_no_day() -> None:
    with pytest.raises(Refusal):
        _day_began_ms("00010101", 1_795_408_147_291, 480)


def test_a_rule_set_with_a_number_too_long_to_read() -> None:
    with pytest.raises(RegistryError):
        read_rules('{"rules": ' + "9" * 5000 + "}")


def test_a_receipt_whose_id_is_only_blanks_names_no_message() -> None:
    body = b"id:,\v sub:001 stat:DELIVRD"
    assert parse_receipt(Pdu(Command.DELIVER_SM, 1, 0, {"esm_class": 4, "short_message": body})) is None
    assert TARGETS["smpp-receipt"].run(bytes.fromhex("2053001e00032c0b0000"))


def test_septets_of_a_whole_payload_as_of_a_short_message() -> None:
    septets = bytes(at % 127 + 1 for at in range(74_000))
    for fill_bits in (0, 3, 6):
        assert unpack(pack(septets, fill_bits), fill_bits) == septets


@pytest.mark.parametrize("splitter", [SmppSplitter(), ApduSplitter(frozenset((0xA1,)))])
def test_a_lost_stream_keeps_neither_octets_nor_frames_of_its_callers(
    splitter: Splitter | ApduSplitter,
) -> None:
    raised = []
    for _ in range(3):
        splitter.feed(b"\xa0" * 70_000)
        with pytest.raises(WireError) as caught:
            splitter.next_frame()
        raised.append(caught.value)
    assert len({id(error) for error in raised}) == 3
    assert len({str(error) for error in raised}) == 1
    depths = []
    for error in raised:
        depth, traceback = 0, error.__traceback__
        while traceback is not None:
            depth, traceback = depth + 1, traceback.tb_next
        depths.append(depth)
    assert max(depths[1:]) == min(depths[1:])
    assert (splitter.buffered_octets if isinstance(splitter, Splitter) else splitter.held) == 0
