"""Packets of gsm0348 and pySim, some checked against real cards: to fields, and back bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aircharge.errors import WireError
from aircharge.wire.ota import (
    CardProfile,
    Command,
    Header,
    KeySet,
    Spi,
    open_command,
    open_response,
    seal_command,
    seal_response,
)
from aircharge.wire.ota_crypto import CHECKS, CIPHERS

FILE = Path(__file__).parents[3] / "shared" / "vectors" / "public" / "ota_0348.json"
ROWS: list[dict[str, Any]] = []
if FILE.exists():
    ROWS = [row for one in json.loads(FILE.read_text())["sets"] for row in one["vectors"]]
COMMANDS = [row for row in ROWS if "packet" in row]
REAL_RESPONSES = [row for row in ROWS if isinstance(row.get("response"), str)]
PLAIN_RESPONSES = [row for row in ROWS if row.get("type") == "response"]


def name(row: dict[str, Any]) -> str:
    return str(row.get("name") or f"{row['kic_mode']}-{row['spi']}-{row['cntr']}-{len(row['data']) // 2}")


def profile_of(row: dict[str, Any]) -> CardProfile:
    return CardProfile(
        ciphers=(*CIPHERS.values(), "3des-ecb"),
        checks=(*CHECKS.values(), "crc-16", "crc-32", "none"),
        unciphered=True,
        single_des=True,
        counting=("absent", "unchecked", "higher", "next"),
        cc_length=4 if row.get("sig") == "AES_CMAC_32" else 8,
        implicit_cipher="3des-ecb" if row.get("alg") else "",
    )


def keys_of(row: dict[str, Any]) -> KeySet:
    index = int(row["kic"], 16) >> 4 if "kic" in row else None
    return KeySet(bytes.fromhex(row["kic_key"]), bytes.fromhex(row["kid_key"]), index)


@pytest.mark.parametrize("row", COMMANDS, ids=name)
def test_command(row: dict[str, Any]) -> None:
    packet, profile, keys = bytes.fromhex(row["packet"]), profile_of(row), keys_of(row)
    expected = Command(
        Spi(int(row["spi"], 16)),
        int(row["kic"], 16),
        int(row["kid"], 16),
        bytes.fromhex(row["tar"]),
        int(row["cntr"], 16),
        bytes.fromhex(row["data"]),
    )
    assert open_command(packet, keys, profile) == expected
    assert seal_command(expected, keys, profile) == packet
    for end in range(len(packet)):
        with pytest.raises(WireError):
            open_command(packet[:end], keys, profile)
    with pytest.raises(WireError):
        open_command(packet + b"\0", keys, profile)
    if expected.spi.check:
        for at in range(len(packet)):
            with pytest.raises(WireError):
                open_command(
                    packet[:at] + bytes((packet[at] ^ 1 << at % 8,)) + packet[at + 1 :], keys, profile
                )


@pytest.mark.parametrize("row", REAL_RESPONSES, ids=name)
def test_response_of_a_real_card(row: dict[str, Any]) -> None:
    whole, profile, keys = bytes.fromhex(row["response"]), profile_of(row), keys_of(row)
    assert whole[:3] == b"\x02\x71\x00"
    asked = Header(
        Spi(int(row["spi"], 16)), int(row["kic"], 16), int(row["kid"], 16), bytes.fromhex(row["tar"])
    )
    response = open_response(whole[3:], asked, keys, profile)
    assert response.tar.hex() == row["tar"]
    assert seal_response(response, asked, keys, profile) == whole[3:]
    for at in range(3, len(whole)):
        with pytest.raises(WireError):
            open_response((whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :])[3:], asked, keys, profile)


@pytest.mark.parametrize("row", PLAIN_RESPONSES, ids=name)
def test_response_in_clear(row: dict[str, Any]) -> None:
    packet, expected = bytes.fromhex(row["data"]), row["response"]
    asked = Header(Spi.of(), 0x12, 0x12, bytes.fromhex(expected["TAR"]))
    response = open_response(packet, asked, keys_of(row))
    assert response.data.hex() == expected["Data"].lower()
    assert response.counter == int(expected["Counter"], 16)
    assert response.status == 0
    assert seal_response(response, asked, keys_of(row)) == packet
