"""Messages, MACs and PIN blocks from other projects' tests, beside the repository; not collected where it is absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aircharge.errors import WireError
from aircharge.wire.framing import NEED_DATA, LengthSplitter
from aircharge.wire.iso8583.crypto import MACS, decrypt, pin_block
from aircharge.wire.iso8583.message import BadMessage, encode
from aircharge.wire.iso8583.profile import CUP
from aircharge.wire.iso8583.terminal import has_good_mac, open_message

PUBLIC = Path(__file__).parents[4] / "shared" / "vectors" / "public" / "pos_8583.json"
VECTORS: dict[str, Any] = json.loads(PUBLIC.read_text()) if PUBLIC.exists() else {}
MESSAGES = [row for row in VECTORS.get("cup_messages", []) if isinstance(row["fields"], dict)]
LONGER = [row for row in VECTORS.get("cup_messages", []) if isinstance(row["fields"], str)]
TPDU_OCTETS = 5


def body_of(row: dict[str, Any]) -> bytes:
    """Header and message."""
    octets = bytes.fromhex(row["hex"])
    assert octets[:TPDU_OCTETS].hex() == row["tpdu"]
    return octets[TPDU_OCTETS:]


@pytest.mark.parametrize("row", MESSAGES, ids=lambda row: row["fields"]["t"])
def test_a_message_whole(row: dict[str, Any]) -> None:
    header, message = open_message(body_of(row), CUP)
    fields = row["fields"]
    assert header.encode().hex() == row["header"]
    assert message.mti == fields["t"]
    assert {
        str(n): value.hex() if isinstance(value, bytes) else value for n, value in message.fields.items()
    } == {name: value for name, value in fields.items() if name not in ("t", "p")}
    assert header.encode() + encode(message, CUP) == body_of(row)


@pytest.mark.parametrize("row", MESSAGES, ids=lambda row: row["fields"]["t"])
def test_a_message_cut_or_with_trailing_octets(row: dict[str, Any]) -> None:
    body = body_of(row)
    for size in range(len(body)):
        with pytest.raises(WireError):
            open_message(body[:size], CUP)
    for extra in (b"\0", b"    ", b"\xff" * 7):
        with pytest.raises(BadMessage, match=f"{len(extra)} octets behind the last element") as wrong:
            open_message(body + extra, CUP)
        assert wrong.value.so_far == open_message(body, CUP)[1]


@pytest.mark.parametrize("row", MESSAGES, ids=lambda row: row["fields"]["t"])
@pytest.mark.parametrize("step", [1, 3, 1 << 16])
def test_messages_byte_by_byte(row: dict[str, Any], step: int) -> None:
    """Behind their 2-octet length, three in a row."""
    framed = len(bytes.fromhex(row["hex"])).to_bytes(2, "big") + bytes.fromhex(row["hex"])
    stream = framed * 3
    splitter = LengthSplitter(2, shortest=2, longest=2048, extra_octets=2, standard="TPDU", section="1")
    found = []
    for start in range(0, len(stream), step):
        splitter.feed(stream[start : start + step])
        while (frame := splitter.next_frame()) is not NEED_DATA:
            found.append(open_message(bytes(frame)[2 + TPDU_OCTETS :], CUP)[1].text(11))
    assert found == [row["fields"]["11"]] * 3


@pytest.mark.parametrize("row", LONGER, ids=lambda row: row["tpdu"])
def test_a_message_with_octets_too_many_is_refused_with_what_was_read(row: dict[str, Any]) -> None:
    with pytest.raises(BadMessage, match="octets behind the last element") as wrong:
        open_message(body_of(row), CUP)
    assert (
        f"Extra data after last field: field 63 pos {wrong.value.offset}" in row["fields"]
    )  # pyiso8583's words
    assert set(wrong.value.so_far.fields) == {11, 41, 42, 47, 60, 63}


@pytest.mark.parametrize("row", VECTORS.get("cup_mac_ecb", []), ids=lambda row: row["mac_ascii"])
def test_the_worked_example_of_the_cup_mac(row: dict[str, Any]) -> None:
    key = decrypt(bytes.fromhex(row["tmk"]), bytes.fromhex(row["tak_cipher"]))
    assert key.hex() == row["tak_clear"]
    block, mac = bytes.fromhex(row["mab"]), MACS["cup-ecb"](key, bytes.fromhex(row["mab"]))
    assert mac == row["mac_ascii"].encode()
    assert mac.hex() == row["mac_field64_hex"]
    octets = bytes.fromhex("602200000000") + block + mac
    assert has_good_mac(octets, CUP, "cup-ecb", key)
    assert open_message(octets, CUP)[1].mti == "0200"


@pytest.mark.parametrize("name", ["x9_9", "x9_19"])
def test_printed_macs(name: str) -> None:
    for row in VECTORS[name]:
        mac = MACS[name.replace("_", ".")](bytes.fromhex(row["key"]), bytes.fromhex(row["data"]))
        assert mac.hex() == row["mac"].lower()


@pytest.mark.parametrize("row", VECTORS.get("iso9564_format0", []), ids=lambda row: row["block"])
def test_a_printed_pin_block(row: dict[str, Any]) -> None:
    assert pin_block(row["pin"], row["pan"]).hex() == row["block"]


if not VECTORS:
    del (
        test_a_message_whole,
        test_a_message_cut_or_with_trailing_octets,
        test_messages_byte_by_byte,
        test_a_message_with_octets_too_many_is_refused_with_what_was_read,
        test_the_worked_example_of_the_cup_mac,
        test_printed_macs,
        test_a_printed_pin_block,
    )
