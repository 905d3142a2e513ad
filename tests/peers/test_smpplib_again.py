"""smpplib delivers again what it heard no answer to: over another bind, with another reference, a part once more."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import smpplib.client

from tests.peers.test_recharges import OUTLET, settled, world
from tests.system.audit import audit

pytestmark = [pytest.mark.peer, pytest.mark.slow]
TON = {"source_addr_ton": 1, "source_addr_npi": 1, "dest_addr_ton": 0, "dest_addr_npi": 1}


class Centre:
    """One bind, and what the outlet's phone shows over it."""

    def __init__(self, port: int) -> None:
        self.shown: list[str] = []
        self.client = smpplib.client.Client("127.0.0.1", port, timeout=1, allow_unknown_opt_params=True)
        self.client.set_message_received_handler(self._received)
        self.client.connect()
        self.client.bind_transceiver(system_id="kannel", password="secret")

    def _received(self, pdu: Any) -> int:
        if pdu.destination_addr.decode().endswith(OUTLET):
            self.shown.append(pdu.short_message.decode("utf-16-be"))
        return 0

    def say(self, text: bytes, **more: Any) -> None:
        self.client.send_message(
            source_addr=OUTLET, destination_addr="0353911", short_message=text, **TON, **more
        )

    def wait(self, words: str) -> str:
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            if found := [text for text in self.shown if words in text]:
                return found[0]
            try:
                self.client.read_once()
            except TimeoutError:
                continue
        raise AssertionError(f"{words} is not in {self.shown}")

    def break_off(self) -> None:
        self.client._socket.close()
        self.client.state = "CLOSED"


@pytest.mark.timeout(300)
def test_what_comes_again_over_another_bind_is_not_done_again(tmp_path: Path) -> None:
    with world(tmp_path / "world") as (instance, port):
        first = Centre(port)
        first.say(b"13512345678 30", user_message_reference=7)
        settled(instance, "13512345678")  # the response is not read
        first.break_off()
        second = Centre(port)
        for more in ({"user_message_reference": 7}, {"user_message_reference": 8}, {"esm_class": 0}):
            second.shown.clear()
            second.say(b"13512345678 30", **more)
            text = second.wait("(26)")
            assert text.startswith("未重复扣款(26):")
            assert text.endswith("13512345678 30*2")
        second.say(b"13512345678 30*2")
        second.wait("成功:13512345678充30.00元")
        second.break_off()
        [*rows] = instance.operator("record", msisdn="13512345678")["rows"]
        assert sum(row["credits"] for row in rows) == 2
        instance.stop()
        assert audit(instance.ledger_file, instance.operator_file).problems == []


@pytest.mark.timeout(300)
def test_a_part_that_comes_again_makes_no_recharge_nobody_wrote(tmp_path: Path) -> None:
    with world(tmp_path / "world") as (instance, port):
        centre = Centre(port)

        def part(seq: int, text: bytes) -> None:
            centre.say(bytes((5, 0, 3, 7, 2, seq)) + text, esm_class=0x40)

        for seq, text in ((1, b"1351234"), (2, b"5678 30"), (2, b"5678 30"), (1, b"1361111")):
            part(seq, text)
        settled(instance, "13512345678")
        part(2, b"2222 50")
        settled(instance, "13611112222")
        centre.break_off()
        rows = instance.operator("record")["rows"]
        assert sorted(row["msisdn"] for row in rows) == ["13512345678", "13611112222"]
        instance.stop()
        assert audit(instance.ledger_file, instance.operator_file).problems == []
