"""Public PDUs of other projects' tests and a recorded Kannel session: decoded to their fields, encoded back.

The public rows live beside the repository and are simply not collected where they are absent.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aircharge.errors import WireError
from aircharge.wire.framing import NEED_DATA, SmppSplitter
from aircharge.wire.smpp.constants import RESPONSE_BIT, Status
from aircharge.wire.smpp.fields import Destination, DistributionList
from aircharge.wire.smpp.pdu import Pdu, PduError, decode, encode

ROOT = Path(__file__).parents[3]
PUBLIC = ROOT.parent / "shared" / "vectors" / "public" / "smpp_pdus.json"
KANNEL = [
    bytes.fromhex(row["hex"])
    for row in json.loads((ROOT / "tests" / "vectors" / "smpp_kannel_session.json").read_text())["pdus"]
]
ROWS: list[dict[str, Any]] = json.loads(PUBLIC.read_text())["vectors"] if PUBLIC.exists() else []
FRAMES = [bytes.fromhex(row["hex"]) for row in ROWS]


def collect_fields(tree: dict[str, Any], found: dict[str, list[str]]) -> dict[str, list[str]]:
    """tshark's nested display tree as name → all values in order."""
    for name, value in tree.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                collect_fields(one, found)
            else:
                found.setdefault(name.removeprefix("smpp."), []).append(one)
    return found


def partial(frame: bytes) -> tuple[Pdu, WireError | None]:
    try:
        return decode(frame), None
    except PduError as error:
        return error.pdu or Pdu(0, 0), error


def number(text: str) -> int:
    return int(text, 16) if text.startswith("0x") else int(text)


TEXTS = ("system_id", "password", "system_type", "address_range", "source_addr", "esme_addr", "message_id")
NUMBERS = (
    *("interface_version", "addr_ton", "addr_npi", "source_addr_ton", "source_addr_npi", "esme_addr_ton"),
    *("esme_addr_npi", "protocol_id", "priority_flag", "replace_if_present_flag", "data_coding"),
    *("sm_default_msg_id", "error_code"),
)
TLVS = {
    "SC_interface_version": 0x0210,
    "dest_bearer_type": 0x0007,
    "dest_network_type": 0x0006,
    "source_network_type": 0x000E,
    "receipted_message_id": 0x001E,
    "privacy_indicator": 0x0201,
    "language_indicator": 0x020D,
    "destination_port": 0x020B,
    "ms_availability_status": 0x0422,
    "source_subaddress": 0x0202,
    "dest_subaddress": 0x0203,
    "message_payload": 0x0424,
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"row{row['id']}")
def test_a_public_row_decodes_to_tsharks_fields(row: dict[str, Any]) -> None:
    frame = bytes.fromhex(row["hex"])
    seen = collect_fields(row["tshark_4_0_17"], {})
    pdu, error = partial(frame)
    if error is not None:  # only a short_message that is longer than its PDU is refused
        assert (error.field, error.hint) == ("sm_length", Status.ESME_RINVMSGLEN)
        assert frame[error.offset] == number(seen["sm_length"][0]) > len(frame) - error.offset - 1
    check_header(pdu, seen)
    check_body(pdu, seen)
    check_tlvs(pdu, seen)


def check_header(pdu: Pdu, seen: dict[str, list[str]]) -> None:
    assert pdu.command == number(seen["command_id"][0])
    assert pdu.sequence == number(seen["sequence_number"][0])
    if "command_status" in seen:
        assert pdu.status == number(seen["command_status"][0])


def check_body(pdu: Pdu, seen: dict[str, list[str]]) -> None:
    fields = pdu.fields
    for name in TEXTS:
        if name in seen:
            assert fields[name] == seen[name][0], name
    for name in NUMBERS:
        if name in seen:
            assert fields[name] == number(seen[name][0]), name
    if "service_type" in seen:
        assert (fields["service_type"] or "(Default)") == seen["service_type"][0]
    if "esm.submit.msg_mode" in seen:
        bits = [number(seen[f"esm.submit.{part}"][0]) for part in ("msg_mode", "msg_type", "features")]
        esm_class = fields["esm_class"]
        assert [esm_class & 3, esm_class >> 2 & 15, esm_class >> 6] == bits
    if "regdel.receipt" in seen:
        bits = [number(seen[f"regdel.{part}"][0]) for part in ("receipt", "acks", "notif")]
        delivery = fields["registered_delivery"]
        assert [delivery & 3, delivery >> 2 & 3, delivery >> 4 & 1] == bits
    if "short_message" in fields:
        assert len(fields["short_message"]) == number(seen["sm_length"][0])
    if "message" in seen:
        assert fields["short_message"].startswith(bytes.fromhex(seen["message"][0].replace(":", "")))
    if "message_state" in fields:
        assert fields["message_state"] == number(seen["message_state"][0])
    check_destinations(fields, seen)


def check_destinations(fields: dict[str, Any], seen: dict[str, list[str]]) -> None:
    if "dest_addresses" in fields:
        sme = [one for one in fields["dest_addresses"] if isinstance(one, Destination)]
        lists = [one.name for one in fields["dest_addresses"] if isinstance(one, DistributionList)]
        assert lists == seen.get("dl_name", [])
        found = [(one.ton, one.npi, one.address) for one in sme]
    elif "unsuccess_smes" in fields:
        assert [one.error_status for one in fields["unsuccess_smes"]] == [
            number(one) for one in seen.get("error_status_code", [])
        ]
        found = [(one.ton, one.npi, one.address) for one in fields["unsuccess_smes"]]
    elif "destination_addr" in fields:
        found = [(fields["dest_addr_ton"], fields["dest_addr_npi"], fields["destination_addr"])]
        seen.setdefault("destination_addr", [""])
    else:
        return
    tons = [number(one) for one in seen.get("dest_addr_ton", [])]
    npis = [number(one) for one in seen.get("dest_addr_npi", [])]
    assert found == list(zip(tons, npis, seen.get("destination_addr", []), strict=True))


def check_tlvs(pdu: Pdu, seen: dict[str, list[str]]) -> None:
    tags = [number(one) for one in seen.get("opt_param_tag", [])]
    assert [tag for tag, _ in pdu.tlvs] == tags
    for name, tag in TLVS.items():
        if name not in seen:
            continue
        value = pdu.tlv(tag)
        if isinstance(value, bytes):
            assert value.startswith(bytes.fromhex(seen[name][0].replace(":", ""))), name
        elif isinstance(value, str):
            assert value == seen[name][0], name
        else:
            assert value == number(seen[name][0]), name


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"row{row['id']}")
def test_a_canonical_public_row_encodes_back(row: dict[str, Any]) -> None:
    frame = bytes.fromhex(row["hex"])
    try:
        again = encode(decode(frame), 0x50)
    except WireError:
        assert row["libsmpp34_1_14_1"] != "ok"  # what we refuse to send, a strict validator refuses too
        return
    body_left_out = len(frame) == 16 and frame[0x4] & 0x80
    ends_within_a_tlv = bool(decode(frame).tail)
    if row["libsmpp34_1_14_1"] == "ok" or not (body_left_out or ends_within_a_tlv):
        assert again == frame


def test_kannel_session_encodes_back() -> None:
    for frame in KANNEL:
        assert encode(decode(frame)) == frame


def split(stream: bytes, step: int) -> tuple[list[bytes], int]:
    splitter = SmppSplitter()
    frames: list[bytes] = []
    for start in range(0, len(stream), step):
        splitter.feed(stream[start : start + step])
        while (frame := splitter.next_frame()) is not NEED_DATA:
            assert isinstance(frame, bytes)
            frames.append(frame)
    return frames, splitter.buffered_octets


@pytest.mark.parametrize("frames", [KANNEL, FRAMES], ids=["kannel", "public"])
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_streams_split_whole_and_byte_by_byte(frames: list[bytes], step: int) -> None:
    assert split(b"".join(frames), step) == (frames, 0)
    assert split(b"".join(frames) + b"\x00\x00\x00", step) == (frames, 3)


@pytest.mark.parametrize("frames", [KANNEL, FRAMES], ids=["kannel", "public"])
def test_trailing_octets_inside_a_pdu(frames: list[bytes]) -> None:
    """One to three octets after the last field are kept aside and change nothing that was read before."""
    for frame in frames:
        pdu, error = partial(frame)
        if error is not None or pdu.tail or (pdu.command & RESPONSE_BIT and len(frame) == 16):
            continue
        for extra in (b"\x00", b"\xff\xff", b"\x00\x01\x02"):
            longer = (len(frame) + len(extra)).to_bytes(4, "big") + frame[4:] + extra
            again = decode(longer)
            assert again.tail == extra
            assert (again.fields, again.tlvs) == (pdu.fields, pdu.tlvs)


@pytest.mark.parametrize("frames", [KANNEL, FRAMES], ids=["kannel", "public"])
def test_every_truncation_is_an_error_or_a_pdu(frames: list[bytes]) -> None:
    for frame in frames:
        for size in range(16, len(frame)):
            partial(size.to_bytes(4, "big") + frame[4:size])
            with pytest.raises(PduError):
                decode(frame[:size])


if not ROWS:
    del test_a_public_row_decodes_to_tsharks_fields, test_a_canonical_public_row_encodes_back
