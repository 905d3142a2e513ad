"""Keys of payment terminals: their form, check values, components, wrapping for transport, files of them. Pure.

A terminal's master key (TMK) is 3DES of 8, 16 or 24 octets or AES of 16, 24 or 32. At rest it is sealed under the
ring's KEK (``cards.KeyRing.seal``), bound to terminal and version. Sources: NIST SP 800-67r2 section 3.3 (weak keys),
GlobalPlatform B.6 (check values), RFC 3394 (AES key wrap), ISO 11568-2 section 5.4 (components by exclusive or).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from aircharge.outlets import cards
from aircharge.outlets.desk import RegistryError
from aircharge.outlets.sheets import Fault

__all__ = [
    "FAMILIES",
    "KEYS_MAX",
    "MAK",
    "PIK",
    "TRANSPORTS",
    "KeyLine",
    "bound_component",
    "bound_master",
    "bound_working",
    "check_component",
    "check_key",
    "combined",
    "kcv_of",
    "kcv_text",
    "key_file",
    "key_lines",
    "key_of",
    "version_of",
    "with_parity",
]

FAMILIES: Final = {"3des": (8, 16, 24), "aes": (16, 24, 32)}
"""Octets a master key may have."""
KEYS_MAX: Final = 2000
"""Keys in one file: each is a line that a second person compares."""
PIK: Final = b"PIK"
MAK: Final = b"MAK"
_COLUMNS: Final = ("terminal", "version", "family", "key", "kcv")
_VERSION: Final = re.compile(r"[1-9][0-9]{0,2}")
_CELL_MAX: Final = 160
_WEAK: Final = frozenset(  # DES keys with parity bits cleared: four weak, six pairs of semi-weak
    bytes.fromhex(one + two)
    for one, two in (
        ("00000000", "00000000"),
        ("fefefefe", "fefefefe"),
        ("e0e0e0e0", "f0f0f0f0"),
        ("1e1e1e1e", "0e0e0e0e"),
        ("00fe00fe", "00fe00fe"),
        ("fe00fe00", "fe00fe00"),
        ("1ee01ee0", "0ef00ef0"),
        ("e01ee01e", "f00ef00e"),
        ("00e000e0", "00f000f0"),
        ("e000e000", "f000f000"),
        ("1efe1efe", "0efe0efe"),
        ("fe1efe1e", "fe0efe0e"),
        ("001e001e", "000e000e"),
        ("1e001e00", "0e000e00"),
        ("e0fee0fe", "f0fef0fe"),
        ("fee0fee0", "fef0fef0"),
    )
)


# -- what a sealed key is bound to -------------------------------------------------------------------------


def bound_master(terminal_id: int, version: int) -> bytes:
    """What a wrapped master key is bound to: it opens for no other terminal or version."""
    return b"terminal|%d|%d" % (terminal_id, version)


def bound_component(terminal_id: int, version: int, part: int) -> bytes:
    """What a component is bound to until it is combined."""
    return b"component|%d|%d|%d" % (terminal_id, version, part)


def bound_working(terminal_id: int, session: int, purpose: bytes) -> bytes:
    """What a wrapped working key is bound to."""
    return b"terminal|%d|session %d|%s" % (terminal_id, session, purpose)


# -- keys --------------------------------------------------------------------------------------------------


def check_key(key: bytes, family: str, *, degenerate: bool = False) -> None:
    """Raises RegistryError for wrong lengths and weak keys. ``degenerate``: single DES, and equal parts, may be."""
    check_component(key, family)
    if family == "aes":
        return
    bare = bytes(octet & 0xFE for octet in key)
    parts = [bare[at : at + 8] for at in range(0, len(bare), 8)]
    if any(part in _WEAK for part in parts):
        raise RegistryError("a weak DES key")
    if not degenerate and (len(parts) == 1 or len(set(parts)) < len(parts)):
        raise RegistryError("single DES, or a 3DES key with equal parts, which is no better")


def check_component(key: bytes, family: str) -> None:
    """What holds for components too. Raises RegistryError for wrong lengths and for one octet repeated."""
    if len(key) not in FAMILIES.get(family, ()):
        sizes = ", ".join(map(str, FAMILIES.get(family, ())))
        raise RegistryError(f"{len(key)} octets: {family} keys have {sizes}" if sizes else "3des or aes")
    if len(set(key)) == 1:
        raise RegistryError("a key of one octet over and over is no key")


def with_parity(key: bytes, family: str) -> bytes:
    """DES keys with odd parity, whatever they came with: DES does not look at it. AES keys as they are."""
    if family == "aes":
        return key
    return bytes(octet & 0xFE | (octet & 0xFE).bit_count() & 1 ^ 1 for octet in key)


def kcv_of(key: bytes, family: str) -> str:
    """Check value, six hexadecimal digits: 3DES (single DES with 8 octets) of zeros, AES of 01s."""
    whole = key * 2 if family == "3des" and len(key) == 8 else key
    return cards.check_value(whole, family).hex().upper()


def combined(components: Sequence[bytes]) -> bytes:
    """The key of two or three components. Raises RegistryError when they differ in length, or two are the same."""
    if len({len(component) for component in components}) != 1:
        raise RegistryError("the components are not of one length")
    if len(set(components)) < len(components):
        raise RegistryError("two components are the same")
    number = 0
    for component in components:
        number ^= int.from_bytes(component)
    return number.to_bytes(len(components[0]))


# -- transport ---------------------------------------------------------------------------------------------


def _from_aes(transport: bytes, wrapped: bytes) -> bytes:
    if len(transport) not in FAMILIES["aes"]:
        raise RegistryError("an AES transport key has 16, 24 or 32 octets")
    try:
        return aes_key_unwrap(transport, wrapped)
    except (InvalidUnwrap, ValueError):
        raise RegistryError("the key was not wrapped under that transport key") from None


def _from_3des(transport: bytes, wrapped: bytes) -> bytes:
    if len(wrapped) % 8 or not wrapped:
        raise RegistryError("a key in 3DES has whole blocks of 8 octets")
    whole = transport + transport[:8] if len(transport) == 16 else transport
    if len(whole) != 24:
        raise RegistryError("a 3DES transport key has 16 or 24 octets")
    return Cipher(TripleDES(whole), ECB()).decryptor().update(wrapped)  # noqa: S305  as injection devices do


TRANSPORTS: Final[dict[str, Callable[[bytes, bytes], bytes]]] = {"aes-kw": _from_aes, "3des-ecb": _from_3des}
"""How the keys of a file are wrapped under its transport key (ZMK): RFC 3394; or 3DES block by block."""


# -- files -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A line of a file: one terminal's key (or component, or key wrapped for transport) and its check value."""

    number: int
    terminal: str
    version: int
    family: str
    kcv: str
    key: bytes = field(repr=False)


def key_lines(octets: bytes) -> tuple[list[KeyLine], list[Fault]]:
    """Lines of a CSV file ``terminal,version,family,key,kcv`` (hexadecimal), and every fault of its form."""
    lines: list[KeyLine] = []
    faults: list[Fault] = []
    try:
        rows = list(csv.reader(io.StringIO(octets.decode("ascii").replace("\r\n", "\n")), strict=True))
    except (UnicodeDecodeError, csv.Error):
        return [], [Fault(1, "", "no CSV in ASCII")]
    if not rows or tuple(cell.strip().lower() for cell in rows[0]) != _COLUMNS:
        return [], [Fault(1, "", f"the header is {','.join(_COLUMNS)}")]
    if not 1 < len(rows) <= KEYS_MAX + 1:
        return [], [Fault(2, "", f"1 to {KEYS_MAX} keys")]
    seen: set[tuple[str, int]] = set()
    for number, cells in enumerate(rows[1:], 2):
        try:
            line = _line(number, [cell.strip() for cell in cells])
            if (line.terminal, line.version) in seen:
                raise RegistryError("that terminal's version is in the file twice")
            seen.add((line.terminal, line.version))
            lines.append(line)
        except RegistryError as error:
            faults.append(Fault(number, "", str(error)))
    return lines, faults


def key_file(lines: Sequence[KeyLine]) -> str:
    """The file that ``key_lines`` reads: a secret."""
    rows = [
        (line.terminal, str(line.version), line.family, line.key.hex().upper(), line.kcv) for line in lines
    ]
    return "".join(",".join(cells) + "\n" for cells in (_COLUMNS, *rows))


def _line(number: int, cells: Sequence[str]) -> KeyLine:
    if len(cells) != len(_COLUMNS) or any(not 0 < len(cell) <= _CELL_MAX for cell in cells):
        raise RegistryError(f"{len(_COLUMNS)} cells are wanted, none empty")
    terminal, version, family, key, kcv = cells
    if family not in FAMILIES:
        raise RegistryError("family: 3des or aes")
    return KeyLine(number, terminal, version_of(version), family, kcv_text(kcv), key_of(key))


def version_of(text: str) -> int:
    """1 to 255. Raises RegistryError."""
    if not _VERSION.fullmatch(text) or int(text) > 255:
        raise RegistryError("versions of a key are 1 to 255")
    return int(text)


def kcv_text(text: str) -> str:
    """Six hexadecimal digits as they are compared. Raises RegistryError."""
    if not re.fullmatch(r"[0-9A-Fa-f]{6}", text):
        raise RegistryError("a check value has six hexadecimal digits")
    return text.upper()


def key_of(text: str) -> bytes:
    """Octets of a key in hexadecimal; blanks between groups may be. Raises RegistryError, which shows none of it."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise RegistryError("a key is written in hexadecimal digits") from None
