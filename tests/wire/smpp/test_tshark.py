"""tshark decodes every PDU that we can send: right command, length and tags, no expert complaint."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path

import pytest

from aircharge.wire.smpp.constants import VERSION_34, VERSION_50, Command, Tag
from aircharge.wire.smpp.pdu import Pdu, encode
from tests.peers import need
from tests.wire.smpp.samples import SAMPLES_34, SAMPLES_50

PORT = 2775
REP_NUM = bytes.fromhex("060400020003")
ALL = [(pdu, VERSION_34) for pdu in SAMPLES_34] + [(pdu, VERSION_50) for pdu in SAMPLES_50]


def pcap(frames: list[bytes], port: int = PORT) -> bytes:
    """A capture file: one TCP segment a frame, each from its own port. LINKTYPE_RAW (101), no checksums."""
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101)]
    for place, frame in enumerate(frames):
        tcp = struct.pack(">HHIIBBHHH", 20000 + place, port, 1, 1, 0x50, 0x18, 65535, 0, 0) + frame
        address = bytes((127, 0, 0, 1))
        packet = (
            struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), place, 0, 64, 6, 0, address, address) + tcp
        )
        records.append(struct.pack("<IIII", 1_700_000_000 + place, 0, len(packet), len(packet)) + packet)
    return b"".join(records)


def for_tshark(frame: bytes) -> bytes:
    """tshark 4.0 reads one octet of broadcast_rep_num although it has two (5.0, 4.8.4.15): cut it out."""
    cut = frame.replace(REP_NUM, b"")
    return len(cut).to_bytes(4, "big") + cut[4:]


def dissect(tmp_path: Path, frames: list[bytes]) -> list[dict[str, list[str]]]:
    """tshark's fields of each frame: name → display values."""
    capture = tmp_path / "pdus.pcap"
    capture.write_bytes(pcap(frames))
    names = ("smpp.command_id", "smpp.command_length", "smpp.sequence_number", "smpp.opt_param_tag")
    fields = [part for name in (*names, "_ws.expert.message", "_ws.malformed") for part in ("-e", name)]
    done = subprocess.run(
        ["tshark", "-r", str(capture), "-d", f"tcp.port=={PORT},smpp", "-T", "json", *fields],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [packet["_source"]["layers"] for packet in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[str]]]:
    need("tshark")
    return dissect(
        tmp_path_factory.mktemp("tshark"), [for_tshark(encode(pdu, version)) for pdu, version in ALL]
    )


@pytest.mark.peer
def test_every_pdu_decodes_without_complaint(seen: list[dict[str, list[str]]]) -> None:
    assert len(seen) == len(ALL)
    wrong = [
        complaint
        for (pdu, version), found in zip(ALL, seen, strict=True)
        for complaint in check(pdu, found, version)
    ]
    assert wrong == []


def check(pdu: Pdu, found: dict[str, list[str]], version: int) -> list[str]:
    wrong = []
    if found.get("smpp.command_id") != [f"0x{pdu.command:08x}"]:
        wrong.append(f"{pdu!r}: command {found.get('smpp.command_id')}")
    if found.get("smpp.command_length") != [str(len(for_tshark(encode(pdu, version))))]:
        wrong.append(f"{pdu!r}: length {found.get('smpp.command_length')}")
    tags = [int(tag, 16) for tag in found.get("smpp.opt_param_tag", [])]
    expected = [tag for tag, _ in pdu.tlvs if tag != Tag.BROADCAST_REP_NUM]
    if (
        tags != expected and pdu.command != Command.DATA_SM_RESP
    ):  # whose optional part tshark does not look at
        wrong.append(f"{pdu!r}: tags {tags}")
    for name in ("_ws.expert.message", "_ws.malformed"):
        complaints = [text for text in found.get(name, []) if not text.startswith("Connection")]
        if complaints:
            wrong.append(f"{pdu!r}: {complaints}")
    return wrong


@pytest.mark.peer
def test_the_check_itself_notices_a_broken_pdu(tmp_path: Path) -> None:
    need("tshark")
    pdu = SAMPLES_34[0]
    broken = bytearray(encode(pdu))
    broken[-20:] = b"x" * 20
    assert check(pdu, dissect(tmp_path, [bytes(broken)])[0], VERSION_34)
