"""µs per PDU: our codec beside smpplib in the same run. ``python benchmarks/smpp_codec.py [--json]``"""

from __future__ import annotations

import argparse
import json
import timeit
from collections.abc import Callable
from types import SimpleNamespace

import smpplib.smpp

from aircharge.wire.framing import SmppSplitter
from aircharge.wire.gsm import Part, encode_text
from aircharge.wire.smpp.constants import Command
from aircharge.wire.smpp.message import fields_for, from_pdu
from aircharge.wire.smpp.pdu import Pdu, decode, encode

ROUNDS = 5
TIMES = 5000


def cost_us(work: Callable[[], object]) -> float:
    """The best of some rounds, µs per call."""
    return min(timeit.repeat(work, number=TIMES, repeat=ROUNDS)) / TIMES * 1e6


def measure() -> dict[str, float]:
    packet = bytes.fromhex("027000") + bytes(58)
    mo = Pdu(
        Command.DELIVER_SM,
        1000,
        0,
        fields_for("8613800138000", "0353911", Part(b"", packet), 0xF6, esm_class=0x40),
    )
    coding, text = encode_text("您为13812345678充值50.00元成功，余额950.00元")
    mt = Pdu(Command.SUBMIT_SM, 1001, 0, fields_for("0353911", "8613800138000", Part(b"", text), coding))
    frame, answer = encode(mo), encode(mo.response())
    received = decode(frame)
    splitter = SmppSplitter()

    def split() -> None:
        splitter.feed(frame)
        splitter.next_frame()
        splitter.next_frame()

    client = SimpleNamespace(sequence=1, next_sequence=lambda: 1)

    def smpplib_submit() -> bytes:
        fields = {name: value for name, value in mt.fields.items() if name != "protocol_id"}
        return bytes(smpplib.smpp.make_pdu("submit_sm", client=client, **fields).generate())

    return {
        "splitter, one deliver_sm": cost_us(split),
        "decode deliver_sm": cost_us(lambda: decode(frame)),
        "decode deliver_sm, smpplib": cost_us(
            lambda: smpplib.smpp.parse_pdu(frame, client=client, allow_unknown_opt_params=True)
        ),
        "message of a deliver_sm": cost_us(lambda: from_pdu(received)),
        "encode deliver_sm_resp": cost_us(lambda: encode(mo.response())),
        "decode deliver_sm_resp": cost_us(lambda: decode(answer)),
        "encode submit_sm": cost_us(lambda: encode(mt)),
        "encode submit_sm, smpplib": cost_us(smpplib_submit),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    as_json = parser.parse_args().json
    figures = measure()
    if as_json:
        print(json.dumps({name: round(value, 3) for name, value in figures.items()}))
        return
    for name, value in figures.items():
        print(f"{name:30} {value:8.2f} µs")


if __name__ == "__main__":
    main()
