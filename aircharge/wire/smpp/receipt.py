"""Delivery receipts: SMPP 3.4 appendix B (text) and the TLVs receipted_message_id and message_state (5.3.2).

The TLVs win where both are there. Texts are read whatever the case, order and spacing of their words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from aircharge.wire.smpp.constants import EsmClass, MessageState, Tag
from aircharge.wire.smpp.pdu import Pdu
from aircharge.wire.smpp.tlv import Tlv

__all__ = ["DeliveryReceipt", "id_variants", "parse_receipt", "receipt_text", "receipt_tlvs"]

STATE_WORDS: Final[dict[str, MessageState]] = {  # appendix B
    "DELIVRD": MessageState.DELIVERED,
    "EXPIRED": MessageState.EXPIRED,
    "DELETED": MessageState.DELETED,
    "UNDELIV": MessageState.UNDELIVERABLE,
    "ACCEPTD": MessageState.ACCEPTED,
    "UNKNOWN": MessageState.UNKNOWN,
    "REJECTD": MessageState.REJECTED,
    "ENROUTE": MessageState.ENROUTE,
    "SCHEDLD": MessageState.SCHEDULED,
    "SKIPPED": MessageState.SKIPPED,
}
_WORD_OF: Final = {state: word for word, state in STATE_WORDS.items()}
_FINAL: Final = frozenset(
    (
        MessageState.DELIVERED,
        MessageState.EXPIRED,
        MessageState.DELETED,
        MessageState.UNDELIVERABLE,
        MessageState.REJECTED,
        MessageState.SKIPPED,
    )
)
_KEYS: Final = re.compile(
    r"\b(id|sub|dlvrd|submit date|done date|stat|err|text)\s*:\s*", re.ASCII | re.IGNORECASE
)
_BETWEEN: Final = ("sub", "dlvrd", "submit date", "done date")
_ERROR: Final = re.compile(r"[0-9A-Za-z]{1,8}")


@dataclass(frozen=True, slots=True)
class DeliveryReceipt:
    """What became of a message sent earlier.

    ``message_id`` is as the peer wrote it (``id_variants`` for comparing). Dates are ``YYMMDDhhmm[ss]`` in
    the SMS centre's own time, empty when not told. ``error`` is its own code.
    """

    message_id: str
    state: MessageState
    error: str = ""
    submit_date: str = ""
    done_date: str = ""
    is_intermediate: bool = False

    @property
    def is_final(self) -> bool:
        """Whether nothing else will become of the message. An intermediate notification never is."""
        return not self.is_intermediate and self.state in _FINAL


def parse_receipt(pdu: Pdu, body: bytes | None = None) -> DeliveryReceipt | None:
    """The receipt in a deliver_sm or data_sm; None when it is none or names no message.

    A receipt without its flag is known by receipted_message_id, or by a text of appendix B: id, stat, and one of
    the words that stand between them.
    ``body`` is the user data without UDH, where the caller has it, else short_message or message_payload.
    """
    kind = pdu.fields.get("esm_class", 0) & EsmClass.TYPE_MASK
    is_flagged = bool(kind & (EsmClass.DELIVERY_RECEIPT | EsmClass.INTERMEDIATE_NOTIFICATION))
    words = _words(_body(pdu) if body is None else body)
    if not is_flagged and not (pdu.tlv(Tag.RECEIPTED_MESSAGE_ID) or _is_appendix_b(words)):
        return None
    message_id = pdu.tlv(Tag.RECEIPTED_MESSAGE_ID) or words.get("id", "")
    if not isinstance(message_id, str) or not message_id:
        return None
    return DeliveryReceipt(
        message_id=message_id,
        state=_state(pdu, words),
        error=_error(pdu, words),
        submit_date=words.get("submit date", ""),
        done_date=words.get("done date", ""),
        is_intermediate=bool(kind & EsmClass.INTERMEDIATE_NOTIFICATION),
    )


def _body(pdu: Pdu) -> bytes:
    data = pdu.fields.get("short_message") or pdu.tlv(Tag.MESSAGE_PAYLOAD) or b""
    return data if isinstance(data, bytes) else b""


def _words(body: bytes) -> dict[str, str]:
    """``key:value`` pairs of a receipt's text; UCS-2 too. What follows ``text:`` is the message's own."""
    text = body.decode("utf-16-be", "replace") if body[:1] == b"\0" else body.decode("latin-1")
    pieces = _KEYS.split(text)
    words: dict[str, str] = {}
    for key, value in zip(pieces[1::2], pieces[2::2], strict=True):
        if key.lower() == "text":
            break
        words.setdefault(key.lower(), value.strip(" ,;\t\r\n\v\f"))
    return words


def _is_appendix_b(words: dict[str, str]) -> bool:
    return bool(words.get("id")) and "stat" in words and not words.keys().isdisjoint(_BETWEEN)


def _state(pdu: Pdu, words: dict[str, str]) -> MessageState:
    state = pdu.tlv(Tag.MESSAGE_STATE)
    if isinstance(state, int) and state in _WORD_OF:
        return MessageState(state)
    word = words.get("stat", "").upper()
    return STATE_WORDS.get(word) or _by_beginning(word)


def _by_beginning(word: str) -> MessageState:
    """Spellings that peers use beside the appendix's ("DELIVERED", "REJECTED"), else UNKNOWN."""
    if len(word) >= 5:
        for known, state in STATE_WORDS.items():
            if known[:5] == word[:5]:
                return state
    return MessageState.UNKNOWN


def _error(pdu: Pdu, words: dict[str, str]) -> str:
    code = pdu.tlv(Tag.NETWORK_ERROR_CODE)
    if isinstance(code, bytes) and len(code) == 3:
        return f"{int.from_bytes(code[1:], 'big'):03d}"
    found = _ERROR.match(words.get("err", ""))
    return found.group() if found else ""


def id_variants(message_id: str) -> tuple[str, ...]:
    """Spellings under which one message_id may return: some SMS centres answer in hex and report in decimal.

    The id as it is first, then without leading zeros, hex as decimal, decimal as hex; no repetitions.
    """
    plain = message_id.strip()
    variants = [message_id, plain, plain.lstrip("0") or plain, plain.upper(), plain.lower()]
    try:
        number = int(plain, 16)
        variants += [str(number), f"{number:010d}"]
        if plain.isascii() and plain.isdecimal():
            decimal = int(plain)
            variants += [f"{decimal:x}", f"{decimal:X}", f"{decimal:08x}", f"{decimal:08X}"]
    except ValueError:
        pass
    return tuple(dict.fromkeys(variants))


def receipt_text(receipt: DeliveryReceipt, text: str = "") -> bytes:
    """A receipt as appendix B writes it: short_message of a deliver_sm, esm_class 0x04. ASCII, 20 of text."""
    delivered = int(receipt.state is MessageState.DELIVERED)
    return (
        f"id:{receipt.message_id} sub:001 dlvrd:{delivered:03d} submit date:{receipt.submit_date}"
        f" done date:{receipt.done_date} stat:{_WORD_OF[receipt.state]} err:{receipt.error or '000'}"
        f" text:{text[:20]}"
    ).encode("ascii", "replace")


def receipt_tlvs(receipt: DeliveryReceipt) -> tuple[Tlv, ...]:
    """receipted_message_id and message_state for the same deliver_sm."""
    return (
        (Tag.RECEIPTED_MESSAGE_ID, receipt.message_id),
        (Tag.MESSAGE_STATE, int(receipt.state)),
    )
