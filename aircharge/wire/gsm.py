"""Text of short messages: 3GPP TS 23.038 alphabets and data coding, SMPP 3.4 section 5.2.19 data_coding.

GSM 7-bit text is handled *unpacked*, one septet an octet; ``pack`` and ``unpack`` do the 7-bit packing.
Decoding never fails: what cannot be read becomes U+FFFD.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from aircharge.errors import WireError
from aircharge.wire.gsm_reassembly import Reassembler
from aircharge.wire.gsm_udh import CONCAT_8, CONCAT_16, Concat, Element, Udh

__all__ = [
    "CONCAT_8",
    "CONCAT_16",
    "Alphabet",
    "Concat",
    "DefaultAlphabet",
    "Element",
    "Part",
    "Reassembler",
    "Udh",
    "alphabet_of",
    "decode_gsm7",
    "decode_text",
    "encode_gsm7",
    "encode_text",
    "fill_bits_after",
    "pack",
    "split_parts",
    "unpack",
]

DefaultAlphabet = Literal["gsm7", "latin1", "ascii", "gsm7-packed"]
"""What a peer means by data_coding 0, the SMS centre's default alphabet."""

Alphabet = Literal[
    "gsm7", "latin1", "ascii", "gsm7-packed", "ucs2", "binary", "jis", "cyrillic", "hebrew", "korean"
]

ESCAPE: Final = 0x1B
DCS_DEFAULT: Final = 0x00
DCS_UCS2: Final = 0x08

_BASIC: Final = (  # TS 23.038 section 6.2.1
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION: Final = {  # TS 23.038 section 6.2.1.1
    0x0A: "\f",
    0x14: "^",
    0x28: "{",
    0x29: "}",
    0x2F: "\\",
    0x3C: "[",
    0x3D: "~",
    0x3E: "]",
    0x40: "|",
    0x65: "€",
}
_DECODING: Final = _BASIC + "\ufffd" * 128
_ENCODING: Final[dict[int, bytes | int]] = {
    ord(letter): code for code, letter in enumerate(_BASIC) if code != ESCAPE
} | {ord(letter): bytes((ESCAPE, code)) for code, letter in _EXTENSION.items()}
_CODECS: Final[dict[Alphabet, str]] = {
    "latin1": "latin-1",
    "ascii": "ascii",
    "ucs2": "utf-16-be",
    "jis": "shift_jis",
    "cyrillic": "iso8859_5",
    "hebrew": "iso8859_8",
    "korean": "euc_kr",
}
_SMPP_CODINGS: Final[dict[int, Alphabet]] = {  # SMPP 3.4 section 5.2.19; 0 is the peer's default
    1: "ascii",
    2: "binary",
    3: "latin1",
    4: "binary",
    5: "jis",
    6: "cyrillic",
    7: "hebrew",
    8: "ucs2",
    14: "korean",
}
_CHARSETS: Final[tuple[Alphabet | None, ...]] = (None, "binary", "ucs2", None)  # DCS bits 3 and 2

PARTS_MAX: Final = 255


def alphabet_of(data_coding: int, default: DefaultAlphabet = "gsm7") -> Alphabet:
    """Which alphabet a data_coding stands for: SMPP's own numbers up to 0x0F, TS 23.038 section 4 above.

    Compressed text is binary to us; reserved schemes mean the default alphabet, as section 4 asks for.
    """
    if data_coding == 0:
        return default
    if data_coding < 0x10:
        return _SMPP_CODINGS.get(data_coding, "binary")
    if data_coding < 0x80:  # general data coding, with class or automatic deletion
        return "binary" if data_coding & 0x20 else _CHARSETS[data_coding >> 2 & 3] or default
    if 0xE0 <= data_coding < 0xF0:  # message waiting, UCS-2
        return "ucs2"
    if data_coding >= 0xF0:  # data coding and message class
        return "binary" if data_coding & 0x04 else default
    return default


def decode_text(data: bytes, data_coding: int, default: DefaultAlphabet = "gsm7") -> str | None:
    """User data without its UDH as text; None when it is binary.

    ``gsm7-packed`` takes whole octets from the first bit on (``unpack`` where a UDH left fill bits).
    """
    alphabet = alphabet_of(data_coding, default)
    if alphabet == "gsm7":
        return decode_gsm7(data)
    if alphabet == "binary":
        return None
    if alphabet == "gsm7-packed":
        return decode_gsm7(unpack(data))
    if alphabet == "ucs2" and len(data) % 2:
        data = data[:-1]
    return data.decode(_CODECS[alphabet], "replace")


def decode_gsm7(data: bytes) -> str:
    """Unpacked septets as text. An unknown escape shows the basic letter (section 6.2.1, note 1)."""
    if ESCAPE not in data:
        return codecs.charmap_decode(data, "strict", _DECODING)[0]
    letters: list[str] = []
    escaped = False
    for code in data:
        if escaped:
            letters.append(_EXTENSION.get(code) or (" " if code == ESCAPE else _DECODING[code]))
            escaped = False
        elif code == ESCAPE:
            escaped = True
        else:
            letters.append(_DECODING[code])
    return "".join(letters)


def encode_gsm7(text: str) -> bytes | None:
    """Text as unpacked septets, or None when a letter is in neither table."""
    try:
        return codecs.charmap_encode(text, "strict", _ENCODING)[0]
    except UnicodeEncodeError:
        return None


def encode_text(text: str, default: DefaultAlphabet = "gsm7") -> tuple[int, bytes]:
    """(data_coding, octets): the default alphabet (data_coding 0) where it can say it, else UCS-2 (8).

    For both GSM alphabets the octets are unpacked septets; ``split_parts`` packs. Lone surrogates become "?".
    """
    if default in ("gsm7", "gsm7-packed"):
        septets = encode_gsm7(text)
        if septets is not None:
            return DCS_DEFAULT, septets
    else:
        try:
            return DCS_DEFAULT, text.encode(_CODECS[default])
        except UnicodeEncodeError:
            pass
    return DCS_UCS2, text.encode("utf-16-be", "replace")


def pack(septets: bytes, fill_bits: int = 0) -> bytes:
    """Septets into octets, low bits first (section 6.1.2.1), after ``fill_bits`` (0..6) zero bits."""
    number = 0
    for place, septet in enumerate(septets):
        number |= (septet & 0x7F) << (7 * place)
    bits = 7 * len(septets) + fill_bits
    return (number << fill_bits).to_bytes((bits + 7) // 8, "little")


def unpack(octets: bytes, fill_bits: int = 0) -> bytes:
    """Octets into septets, the first ``fill_bits`` skipped. A last septet that is only padding is dropped."""
    count = (8 * len(octets) - fill_bits) // 7
    if count <= 0:
        return b""
    whole = (int.from_bytes(octets, "little") >> fill_bits).to_bytes(len(octets), "little")
    sevens = (int.from_bytes(whole[at : at + 7], "little") for at in range(0, len(whole), 7))
    septets = bytes(number >> bit & 0x7F for number in sevens for bit in range(0, 56, 7))[:count]
    is_padding = (8 * len(octets) - fill_bits) % 7 == 0 and septets[-1] == 0
    return septets[:-1] if is_padding else septets


def fill_bits_after(udh_octets: int) -> int:
    """Zero bits that bring the text after a UDH to a septet boundary (TS 23.040 section 9.2.3.24)."""
    return -8 * udh_octets % 7


@dataclass(frozen=True, slots=True)
class Part:
    """One short message of a text: its UDH (empty when alone) and its share of the octets."""

    udh: bytes
    body: bytes
    concat: Concat | None = None

    @property
    def user_data(self) -> bytes:
        return self.udh + self.body


def split_parts(
    data: bytes,
    data_coding: int,
    ref: int,
    wide_ref: bool = False,
    *,
    default: DefaultAlphabet = "gsm7",
    elements: tuple[Element, ...] = (),
) -> list[Part]:
    """Octets as parts that fit a short message of 140 octets (TS 23.040 section 9.2.3.24.1).

    160, 153, 152 septets; 70, 67, 66 UCS-2 units; 140, 134, 133 octets (alone, 8 bit, 16 bit reference), less
    what ``elements`` take: those stand after the concatenation element of the first part, and only there.
    No escape pair and no surrogate pair is parted. With the default ``gsm7-packed`` septets are packed here.
    Raises WireError for more than 255 parts.
    """
    alphabet = alphabet_of(data_coding, default)
    first = Udh(elements).build() if elements else b""
    if len(data) <= _room(alphabet, first):
        return [Part(first, _packed(data, alphabet, len(first)))]
    udhs = _heads(ref, wide_ref, elements)
    chunks = list(_chunks(data, alphabet, udhs))
    if len(chunks) > PARTS_MAX:
        raise WireError("TS 23.040", "9.2.3.24.1", "a text of more than 255 parts", field="total")
    parts = []
    for place, chunk in enumerate(chunks, 1):
        concat = Concat(ref & (0xFFFF if wide_ref else 0xFF), len(chunks), place, wide_ref)
        udh = Udh((concat.element(), *(elements if place == 1 else ()))).build()
        parts.append(Part(udh, _packed(chunk, alphabet, len(udh)), concat))
    return parts


def _heads(ref: int, wide_ref: bool, elements: tuple[Element, ...]) -> tuple[bytes, bytes]:
    """UDHs as long as those of the first part and of the others."""
    element = Concat(ref, 1, 1, wide_ref).element()
    return Udh((element, *elements)).build(), Udh((element,)).build()


def _room(alphabet: Alphabet, udh: bytes) -> int:
    """Octets (septets for GSM) that fit beside a UDH."""
    if alphabet in ("gsm7", "gsm7-packed", "ascii"):
        return (140 - len(udh)) * 8 // 7
    return (140 - len(udh)) // 2 * 2 if alphabet == "ucs2" else 140 - len(udh)


def _packed(septets: bytes, alphabet: Alphabet, udh_octets: int) -> bytes:
    return pack(septets, fill_bits_after(udh_octets)) if alphabet == "gsm7-packed" else septets


def _chunks(data: bytes, alphabet: Alphabet, udhs: tuple[bytes, bytes]) -> Iterator[bytes]:
    start = 0
    room = _room(alphabet, udhs[0])
    while start < len(data):
        end = min(start + room, len(data))
        if end < len(data):
            end -= _overhang(data, end, alphabet)
        yield data[start:end]
        start = end
        room = _room(alphabet, udhs[1])


def _overhang(data: bytes, end: int, alphabet: Alphabet) -> int:
    """Octets to give to the next part so that no pair is parted at ``end``."""
    if alphabet in ("gsm7", "gsm7-packed"):
        return 1 if data[end - 1] == ESCAPE else 0
    if alphabet == "ucs2":
        return 2 if 0xD8 <= data[end - 2] <= 0xDB else 0
    return 0
