"""tshark's iso8583 dissector reads every element it knows as we wrote it, in every message, without complaint.

Left out, because its table has them otherwise than the standard or our dialect: DE 53 (half as long), 54, 36 (malformed
even alone), packed tracks, LLL octets (it takes them for text), Chinese text, and of packed messages 48, 60 and 61,
which Q/CUP 007 makes digits. pyiso8583 (``test_pyiso8583.py``) covers those.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from aircharge.wire.iso8583.message import Message, encode
from aircharge.wire.iso8583.profile import ASCII, BCD, CUP, Profile
from tests.peers import need
from tests.wire.iso8583.samples import MESSAGES, name_of, with_mac
from tests.wire.smpp.test_tshark import pcap

PORT: Final = 8583
OTHERWISE: Final = {35, 36, 47, 53, 54, 55, 62}
DIGITS_FOR_US: Final = {48, 60, 61}
MORE: Final = (
    Message(
        "0200", {3: "210000", 7: "1123093015", 11: "000001", 32: "1020290", 70: "301", 128: bytes(range(8))}
    ),
    Message(
        "0421", {11: "000001", 90: "0200000001112309301500000000001" + "0" * 11, 95: "0" * 42, 103: "6222 1"}
    ),
)
PROFILES: Final = (CUP, BCD, ASCII)
CASES: Final = [(message, profile) for profile in PROFILES for message in (*MESSAGES, *MORE)]
PREFERENCES: Final = {
    True: ("Digits represented in nibbles", "Bin data not encoded"),
    False: ("Digits represented as ASCII Characters", "Bin data represented as Hex Ascii characters"),
}


def known(message: Message, profile: Profile) -> Message:
    """With a MAC, and with the elements whose form tshark shares."""
    left_out = OTHERWISE | (DIGITS_FOR_US if profile.packed else set())
    full = message if 128 in message.fields or 103 in message.fields else with_mac(message)
    return Message(
        message.mti,
        {
            n: value
            for n, value in full.fields.items()
            if n not in left_out and (n != 63 or full.text(n).isascii())
        },
    )


def dissect(folder: Path, frames: list[bytes], *, packed: bool) -> list[dict[str, Any]]:
    """tshark's elements of each message, each behind its 2-octet length."""
    capture = folder / f"{packed}.pcap"
    capture.write_bytes(pcap([len(frame).to_bytes(2, "big") + frame for frame in frames], PORT))
    charset, binary = PREFERENCES[packed]
    preferences = ("len_endian:Big endian", f"charset:{charset}", f"binencode:{binary}")
    options = [part for one in preferences for part in ("-o", f"iso8583.{one}")]
    done = subprocess.run(
        ["tshark", "-r", str(capture), "-d", f"tcp.port=={PORT},iso8583", *options, "-T", "json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [packet["_source"]["layers"].get("iso8583", {}) for packet in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    need("tshark")
    folder = tmp_path_factory.mktemp("tshark")
    found: list[dict[str, Any]] = []
    for packed in (True, False):
        frames = [
            encode(known(message, profile), profile) for message, profile in CASES if profile.packed is packed
        ]
        found += dissect(folder, frames, packed=packed)
    return found


def shown(value: str | bytes, is_number: bool, profile: Profile) -> str:
    """As tshark shows it: it always takes the filling of an odd number of packed digits to be on the left."""
    if isinstance(value, bytes):
        return value.hex().upper()
    if is_number and profile is CUP and len(value) % 2:
        return f"{value}0"[1:]
    return value


def check(message: Message, profile: Profile, found: dict[str, Any]) -> list[str]:
    wrong = [] if found.get("iso8583.mti") == message.mti else [f"mti {found.get('iso8583.mti')}"]
    numbers = {int(name[11:]) for name in found if name.startswith("iso8583.bit") and name[11:].isdecimal()}
    if numbers != message.fields.keys():
        wrong.append(f"elements {sorted(numbers ^ message.fields.keys())}")
    for number, value in message.fields.items():
        theirs = str(found.get(f"iso8583.bit{number}", "")).rstrip("`")  # a stray sign behind packed octets
        ours = shown(value, profile.fields[number].kind.value == "n", profile)
        if theirs != ours:
            wrong.append(f"{number}: {theirs!r}, not {ours!r}")
    if "malformed" in json.dumps(found).lower():
        wrong.append("malformed")
    return wrong


@pytest.mark.peer
def test_every_message_is_read_as_it_was_written(seen: list[dict[str, Any]]) -> None:
    assert len(seen) == len(CASES)
    wrong = [
        f"{profile.name} {name_of(message)}: {complaint}"
        for (message, profile), found in zip(CASES, seen, strict=True)
        for complaint in check(known(message, profile), profile, found)
    ]
    assert wrong == []


@pytest.mark.peer
def test_the_check_itself_notices_a_message_of_another_dialect(tmp_path: Path) -> None:
    need("tshark")
    message = known(MESSAGES[5], BCD)
    found = dissect(tmp_path, [encode(message, CUP)], packed=True)
    assert check(message, BCD, found[0])
