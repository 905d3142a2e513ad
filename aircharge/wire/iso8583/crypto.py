"""MACs, PIN blocks, and keys as they are downloaded. Keys: 8 octets DES, 16 or 24 3DES, AES where it is said.

Two-key 3DES whose halves are equal is single DES; OpenSSL takes it, as real terminals have it. Sources: Q/CUP 007
("ECB" MAC), ANSI X9.9 and X9.19, NIST SP 800-38B, ISO 9564-1:2017 formats 0, 1 and 4.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import partial
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from cryptography.hazmat.primitives.cmac import CMAC

from aircharge.errors import WireError

__all__ = [
    "MACS",
    "PIN_BLOCK_WRONG",
    "aes_cmac",
    "check_value",
    "cup_ecb",
    "decrypt",
    "encrypt",
    "is_mac",
    "odd_parity",
    "open_pin_block",
    "pin_block",
    "seal_format_4",
    "x9_9",
    "x9_19",
]

PIN_BLOCK_WRONG: Final = 99
"""DE 39 for a PIN block that does not open."""
_BLOCK: Final = 8
_AES_BLOCK: Final = 16
_PIN_MIN, _PIN_MAX = 4, 12


def _des(key: bytes) -> TripleDES:
    """3DES of 8, 16 or 24 octets. Raises ValueError."""
    if len(key) not in (8, 16, 24):
        raise ValueError("a key of 8, 16 or 24 octets")
    return TripleDES({8: key * 3, 16: key + key[:8], 24: key}[len(key)])


def encrypt(key: bytes, data: bytes) -> bytes:
    """3DES-ECB (single DES with 8 octets); whole blocks."""
    encryptor = Cipher(_des(key), ECB()).encryptor()  # noqa: S305  by the standard
    return encryptor.update(data)


def decrypt(key: bytes, data: bytes) -> bytes:
    decryptor = Cipher(_des(key), ECB()).decryptor()  # noqa: S305  by the standard
    return decryptor.update(data)


def check_value(key: bytes, octets: int = 4) -> bytes:
    """The first octets of the encryption of zeros."""
    return encrypt(key, bytes(_BLOCK))[:octets]


def odd_parity(key: bytes) -> bytes:
    """The same DES key with odd parity in each octet's last bit."""
    return bytes(octet & 0xFE | (octet & 0xFE).bit_count() & 1 ^ 1 for octet in key)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


# -- MACs -------------------------------------------------------------------------------------------------


def cup_ecb(key: bytes, data: bytes, second: int = 24) -> bytes:
    """Q/CUP 007: XOR of all blocks as 16 hexadecimal digits, two encryptions, the first 8 digits of the result.

    ``second``: octets of the key that the second encryption uses; some acquirers take single DES there (8).
    """
    padded, folded = _padded(data), 0
    for at in range(0, len(padded), _BLOCK):
        folded ^= int.from_bytes(padded[at : at + _BLOCK], "big")
    digits = folded.to_bytes(_BLOCK, "big").hex().upper().encode()
    first = encrypt(key, digits[:_BLOCK])
    return encrypt(key[:second], _xor(first, digits[_BLOCK:])).hex().upper().encode()[:_BLOCK]


def x9_9(key: bytes, data: bytes) -> bytes:
    """DES-CBC over zero-padded data, the last block (ANSI X9.9). The first 8 octets of the key."""
    cbc = Cipher(_des(key[:_BLOCK]), CBC(bytes(_BLOCK))).encryptor()
    return cbc.update(_padded(data) or bytes(_BLOCK))[-_BLOCK:]


def x9_19(key: bytes, data: bytes) -> bytes:
    """The same, and the last block decrypted under the second half and encrypted again (ANSI X9.19, retail MAC)."""
    if len(key) != 2 * _BLOCK:
        raise ValueError("a key of 16 octets")
    return encrypt(key[:_BLOCK], decrypt(key[_BLOCK:], x9_9(key, data)))


def aes_cmac(key: bytes, data: bytes) -> bytes:
    """The first 8 octets of AES-CMAC (NIST SP 800-38B)."""
    cmac = CMAC(AES(key))
    cmac.update(data)
    return cmac.finalize()[:_BLOCK]


MACS: Final[dict[str, Callable[[bytes, bytes], bytes]]] = {
    "cup-ecb": cup_ecb,
    "cup-ecb-des": partial(cup_ecb, second=_BLOCK),
    "x9.9": x9_9,
    "x9.19": x9_19,
    "aes-cmac": aes_cmac,
}
"""By the name a configuration gives it; key and data in, 8 octets out."""


def is_mac(name: str, key: bytes, data: bytes, mac: bytes) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(MACS[name](key, data), mac)


# -- PIN blocks -------------------------------------------------------------------------------------------


def _wrong(why: str) -> WireError:
    return WireError("ISO 9564", "9", why, field="DE 52", hint=PIN_BLOCK_WRONG)


def _pan_digits(pan: str) -> bytes:
    """The 12 rightmost digits without the check digit, behind four zeros."""
    return bytes.fromhex("0000" + pan[:-1][-12:].rjust(12, "0"))


def pin_block(pin: str, pan: str = "", fmt: int = 0, fill: bytes = b"") -> bytes:
    """The clear block of formats 0 (``pan`` empty: not bound to one) and 1 (``fill``: random octets)."""
    if not (_PIN_MIN <= len(pin) <= _PIN_MAX and pin.isascii() and pin.isdecimal()):
        raise _wrong("4 to 12 digits")
    head = f"{fmt}{len(pin):X}{pin}"
    if fmt == 1:
        return bytes.fromhex(head + fill.hex()[: 16 - len(head)].ljust(16 - len(head), "0"))
    block = bytes.fromhex(head.ljust(16, "F"))
    return _xor(block, _pan_digits(pan)) if pan else block


def open_pin_block(key: bytes, block: bytes, pan: str = "") -> str:
    """The PIN of an enciphered block: formats 0 and 1 under 3DES (8 octets), 4 under AES (16 octets).

    ``pan`` empty: format 0 was not bound to one. Raises WireError: another key, or no PIN block.
    """
    if len(block) == _AES_BLOCK:
        return _open_format_4(key, block, pan)
    if len(block) != _BLOCK:
        raise _wrong(f"{len(block)} octets")
    clear = decrypt(key, block)
    if clear[0] >> 4 == 0 and pan:
        clear = _xor(clear, _pan_digits(pan))
    text = clear.hex().upper()
    fmt, size = int(text[0], 16), int(text[1], 16)
    pin, fill = text[2 : 2 + size], text[2 + size :]
    is_filled = fmt == 1 or (fmt == 0 and not fill.strip("F"))
    if not (_PIN_MIN <= size <= _PIN_MAX and pin.isdecimal() and is_filled):
        raise _wrong("not a PIN block under this key")
    return pin


def _pan_block(pan: str) -> bytes:
    """ISO 9564-1:2017 9.3.6.3: length over 12 digits, the digits, zeros."""
    digits = pan.rjust(12, "0")
    return bytes.fromhex((f"{len(digits) - 12:X}" + digits).ljust(32, "0"))


def seal_format_4(key: bytes, pin: str, pan: str, fill: bytes) -> bytes:
    """The enciphered block of format 4; ``fill``: 8 random octets."""
    if not (_PIN_MIN <= len(pin) <= _PIN_MAX and pin.isascii() and pin.isdecimal()):
        raise _wrong("4 to 12 digits")
    field = bytes.fromhex(f"4{len(pin):X}{pin}".ljust(16, "A")) + fill
    aes = Cipher(AES(key), ECB())  # noqa: S305  by the standard
    first = aes.encryptor().update(field)
    return aes.encryptor().update(_xor(first, _pan_block(pan)))


def _open_format_4(key: bytes, block: bytes, pan: str) -> str:
    if len(key) not in (16, 24, 32):
        raise _wrong("no AES key")
    aes = Cipher(AES(key), ECB())  # noqa: S305  by the standard
    first = _xor(aes.decryptor().update(block), _pan_block(pan))
    text = aes.decryptor().update(first).hex().upper()
    size = int(text[1], 16)
    pin, fill = text[2 : 2 + size], text[2 + size : 16]
    if not (text[0] == "4" and _PIN_MIN <= size <= _PIN_MAX and pin.isdecimal() and not fill.strip("A")):
        raise _wrong("not a PIN block under this key")
    return pin
