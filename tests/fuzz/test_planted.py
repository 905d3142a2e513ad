"""Bugs planted in decoders and sessions: the table must catch each within some thousand changed examples."""

from __future__ import annotations

import hmac
import re
from itertools import islice
from typing import Any

import pytest

from aircharge.ledger import batch_file
from aircharge.outlets import sheets
from aircharge.sms import grammar
from aircharge.wire import gsm, gsm_udh, ota, stk
from aircharge.wire.framing import LengthSplitter
from aircharge.wire.gsm_reassembly import Reassembler
from aircharge.wire.operator import ber
from aircharge.wire.operator import session as operator_session
from aircharge.wire.smpp import fields, receipt, tlv
from aircharge.wire.smpp import session as smpp_session
from aircharge.wire.smpp import window as smpp_window
from tests.fuzz.mutation import mutants
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS, corpus_of

INPUTS = 6000


def short_header(self: LengthSplitter, buffer: bytearray, start: int) -> int | None:
    """Reads a length before all of its octets are there."""
    length = int.from_bytes(buffer[start : start + self._length_octets], "big") + self._extra_octets
    return length if len(buffer) > start else None


def forgetful_drop(self: Reassembler, place: Any) -> None:
    """Drops a message and goes on counting its octets."""
    self._unfinished.pop(place)


def unpopped(self: smpp_window.Window, sequence: int) -> Any:
    """An answered request that stays in the window."""
    return self._unanswered.get(sequence)


def trusting_tlv(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Believes the length of an element."""
    return data[at], at + 2, at + 2 + data[at + 1]


def endless_text(field: fields.CString, frame: bytes, position: int, into: dict[str, Any]) -> int:
    """A text that ends with the PDU where its NUL is missing."""
    end = frame.find(0, position)
    into[field.name] = str(frame[position : end if end >= 0 else len(frame)], "latin-1")
    return end + 1 if end >= 0 else len(frame)


def nothing(*_: Any) -> None:
    """Does not do what should be done."""


PLANTED: list[tuple[str, Any, str, Any]] = [
    ("framing", LengthSplitter, "frame_length", short_header),
    ("smpp-session", smpp_session.Session, "_undecodable", nothing),
    ("smpp-session", smpp_session.Session, "_illegal", nothing),
    ("smpp-session", smpp_window.Window, "take", unpopped),
    ("smpp-pdu", fields.CString, "read", endless_text),
    ("smpp-pdu", fields, "_octet", lambda frame, position, name: (frame[position], position + 1)),
    ("smpp-tlv", tlv, "_INTEGER_OCTETS_MAX", 3),
    ("smpp-receipt", receipt, "_by_beginning", lambda word: receipt.STATE_WORDS[word]),
    ("gsm-reassembly", Reassembler, "_drop", forgetful_drop),
    ("gsm-text", gsm, "fill_bits_after", lambda udh_octets: 0),
    ("gsm-text", gsm, "_overhang", lambda data, end, alphabet: 0),
    ("gsm-udh", gsm_udh.Udh, "build", lambda udh: b"\0"),
    ("ber", ber, "read_tlv", trusting_tlv),
    ("operator-session", operator_session.Session, "_work_received", nothing),
    ("operator-session", operator_session.Session, "_end", nothing),
    ("ota-command", hmac, "compare_digest", lambda one, other: True),
    ("ota-seal", ota._Sealing, "padding", lambda sealing, before, data: 0),
    ("stk", stk, "_PIN", re.compile(r"([0-9]{4,12})[0-9a-f]*")),
    ("sms-grammar", grammar, "AMOUNT_MAX_FEN", 10**14),
    ("sheet", sheets, "_guard", lambda cell: cell),
    ("batch-file", batch_file, "fen_of", lambda yuan: int(float(yuan) * 100)),
]


def _is_caught(target: Target, inputs: list[bytes]) -> bool:
    try:
        for data in inputs:
            target.run(data)
    except Exception:  # whatever escapes is a find
        return True
    return False


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("name", "room", "attribute", "bug"), PLANTED, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_planted_bug_is_caught(
    monkeypatch: pytest.MonkeyPatch, name: str, room: Any, attribute: str, bug: Any
) -> None:
    target = TARGETS[name]
    examples = [*(data for _, data in corpus_of(name)), *target.seeds()]
    monkeypatch.setattr(room, attribute, bug)
    assert _is_caught(target, [*examples, *islice(mutants(examples, 1), INPUTS)])
