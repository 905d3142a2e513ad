"""The SMS centre against our own SMPP server, joined in memory: true PDUs, time by hand."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.test.iosim import FakeTransport, connect

from aircharge.errors import WireError
from aircharge.instance import free_port
from aircharge.protocols.smpp import SmppGateway, SmppPeer, SmppServer
from aircharge.simulators.control import ask
from aircharge.simulators.sim_card import CardBook, SimCard, sealed_recharges
from aircharge.simulators.sms_centre import SmsCentre
from aircharge.simulators.sms_delivery import Redelivery
from aircharge.wire.ota import KeySet, Sts, open_command
from aircharge.wire.smpp.message import MobileMessage
from aircharge.wire.stk import StkMessage, StkOperation, decode

PHONE, CUSTOMER, NOW_MS = "13900001023", "13812345678", 1_790_000_000_123
ROW = {"iccid": "89860000000000001023", "kic": "00" * 15 + "01", "kid": "00" * 15 + "02", "family": "aes"}
KEYS = KeySet(bytes.fromhex(str(ROW["kic"])), bytes.fromhex(str(ROW["kid"])), 1)
STK = {"from": PHONE, "operation": "recharge", "target": CUSTOMER, "amount_fen": 5000, "pin": "736194"}


class World:
    """The centre bound to a server whose answers the test decides."""

    def __init__(self, folder: Path, mo_pdu: str = "deliver_sm", **options: Any) -> None:
        self.clock = Clock()
        self.got: list[MobileMessage] = []
        self.statuses: list[int | None] = []  # None: never answered
        self.server = SmppGateway(self.clock, lambda: NOW_MS, self._answer)
        profile = SmppPeer(system_id="smsc", mt_pdu="submit_sm", sent_time_tlv=0x1401)
        factory = SmppServer(self.server, [profile], {"smsc": "secret"})
        folder.mkdir(exist_ok=True)
        self.centre = SmsCentre(
            self.clock,
            lambda: NOW_MS,
            folder,
            mo_pdu=mo_pdu,
            sent_time_tlv=0x1401,
            redelivery=Redelivery(2.0, 5),
            **options,
        )
        peer = SmppPeer(
            name="daemon",
            system_id="smsc",
            role="esme",
            mo_pdu=("submit_sm",),
            mt_pdu=mo_pdu,
            response_s=10.0,
        )
        line = self.centre.gateway.line(peer, "secret")
        ours = self.centre.gateway.connection((line,), is_dialled=True)
        theirs: Any = factory.buildProtocol(None)
        self.pump = connect(theirs, FakeTransport(theirs, True), ours, FakeTransport(ours, False))
        self.flush()
        self.do("handset.add", number=PHONE, **ROW)

    async def _answer(self, message: MobileMessage, peer: object) -> int:
        self.got.append(message)
        status = self.statuses.pop(0) if self.statuses else 0
        if status is None:
            await Deferred()
        return status or 0

    def flush(self) -> None:
        for _ in range(20):
            self.clock.advance(0)
            self.pump.pump()
        self.pump.flush()

    def advance(self, seconds: float) -> None:
        for _ in range(int(seconds * 2)):
            self.clock.advance(0.5)
            self.flush()

    def do(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """The verb's result; it must be there without any waiting."""
        results: list[Any] = []
        coroutine: Coroutine[Any, Any, dict[str, Any]] = self.centre.verbs()[verb](arguments)  # type: ignore[assignment]
        Deferred.fromCoroutine(coroutine).addBoth(results.append)
        self.flush()
        if not results:
            self.advance(6)
        [result] = results
        if not isinstance(result, dict):
            result.raiseException()
        return dict(result)

    def message(self, place: int = -1) -> StkMessage:
        return decode(open_command(self.got[place].data, KEYS).data)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    return World(tmp_path / "centre")


@pytest.mark.parametrize("mo_pdu", ["deliver_sm", "submit_sm"])
def test_a_text_arrives_with_the_centres_own_time(tmp_path: Path, mo_pdu: str) -> None:
    world = World(tmp_path / "centre", mo_pdu)
    assert world.do("status")["bound"] is True
    answer = world.do("sms", **{"from": "13900009999", "to": "0353911", "text": "13812345678 50"})
    assert answer == {"message": 1, "status": 0, "tries": 1, "done": True}
    [message] = world.got
    assert (message.source, message.destination, message.text) == ("13900009999", "0353911", "13812345678 50")
    assert message.sent_ms == NOW_MS // 1000 * 1000


def test_a_long_chinese_text_arrives_whole(world: World) -> None:
    text = "充值" * 100
    assert world.do("sms", **{"from": PHONE, "text": text})["status"] == 0
    assert [message.text for message in world.got] == [text]


def test_age_and_reference_are_told(world: World) -> None:
    world.do("sms", **{"from": PHONE, "text": "00", "age_s": 90, "reference": 7})
    assert world.got[0].sent_ms == (NOW_MS // 1000 - 90) * 1000
    assert world.got[0].reference == 7


def test_a_menu_choice_is_a_sealed_packet(world: World) -> None:
    answer = world.do("stk", **STK)
    [message] = world.got
    assert message.is_secured
    assert message.destination == "0353911"
    packet = open_command(message.data, KEYS)
    content = decode(packet.data)
    assert (answer["counter"], answer["serial"]) == (1, content.serial) == (packet.counter, content.serial)
    assert (content.target, content.amount_fen, content.pin.secret) == (CUSTOMER, 5000, "736194")
    assert content.sent_s == NOW_MS // 1000


def test_every_operation_and_a_reconfirmation_of_the_last(world: World) -> None:
    first = world.do("stk", **STK, repeat=2)["serial"]
    second = world.do("stk", **{"from": PHONE, "operation": "reconfirm", "pin": "736194"})["serial"]
    reconfirm = world.message()
    assert (reconfirm.operation, reconfirm.earlier, reconfirm.repeat) == (StkOperation.RECONFIRM, first, 2)
    assert (reconfirm.serial, reconfirm.target, reconfirm.amount_fen) == (second, CUSTOMER, 5000)
    for name in ("balance", "last"):
        world.do("stk", **{"from": PHONE, "operation": name, "pin": "736194"})
        assert world.message().operation.name == name.upper()
    assert len({message.data for message in world.got}) == 4
    with pytest.raises(ValueError, match="operations"):
        world.do("stk", **STK | {"operation": "donate"})
    with pytest.raises(ValueError, match="no SIM card"):
        world.do("stk", **STK | {"from": "13900009999"})


@pytest.mark.parametrize(
    "weak", [{"spi": "0a00"}, {"spi": "0c00"}, {"kic": "11" * 8, "family": "des", "kid": "22" * 8}]
)
def test_a_card_may_be_weak_so_that_the_other_side_can_refuse_it(world: World, weak: dict[str, str]) -> None:
    world.do("handset.add", number=PHONE, **(ROW | weak))
    assert world.do("stk", **STK)["status"] == 0
    keys = KeySet(
        bytes.fromhex(weak.get("kic", str(ROW["kic"]))), bytes.fromhex(weak.get("kid", str(ROW["kid"]))), 1
    )
    with pytest.raises(WireError) as caught:
        open_command(world.got[0].data, keys)
    assert caught.value.hint == Sts.INSUFFICIENT


@pytest.mark.parametrize("fault", ["bad_mac", "tamper"])
def test_broken_packets_do_not_open(world: World, fault: str) -> None:
    world.do("stk", **STK, **{fault: True})
    with pytest.raises(WireError):
        world.message()


def test_replay_repeats_the_octets(world: World) -> None:
    world.do("stk", **STK, age_s=30)
    world.do("replay", **{"from": PHONE})
    first, second = world.got
    assert (first.data, first.elements) == (second.data, second.elements)
    assert first.sent_ms != second.sent_ms
    with pytest.raises(ValueError, match="sent nothing"):
        world.do("replay", **{"from": "13900009999"})


def test_resend_repeats_the_message_with_its_own_time(world: World) -> None:
    world.do("sms", **{"from": PHONE, "text": "00", "age_s": 30})
    answer = world.do("resend", **{"from": PHONE})
    assert answer["tries"] == 2
    assert world.got[0] == world.got[1]


@pytest.mark.parametrize("status", [0x58, 0x14, 0x64])
def test_a_temporary_refusal_is_delivered_again(world: World, status: int) -> None:
    world.statuses = [status]
    answer = world.do("stk", **STK)
    assert (answer["status"], answer["tries"], len(world.got)) == (0, 2, 2)
    assert world.got[0].data == world.got[1].data


def test_a_final_refusal_ends_the_message(world: World) -> None:
    world.statuses = [0x0B]
    assert world.do("stk", **STK)["status"] == 0x0B
    world.advance(30)
    assert len(world.got) == 1
    assert world.do("status")["refused"] == 1


def test_an_unanswered_message_is_delivered_again(world: World) -> None:
    world.statuses = [None]
    answer = world.do("stk", **STK)
    assert (answer["status"], answer["done"]) == (None, False)
    world.advance(15)
    assert len(world.got) == 2
    assert world.do("status") | {"open": 0, "redelivered": 1} == world.do("status")


@pytest.mark.parametrize("how", ["drop_responses", "skip_response"])
def test_a_lost_answer_leads_to_redelivery(world: World, how: str) -> None:
    extra = {}
    if how == "drop_responses":
        world.do("drop_responses", n=1)
    else:
        extra = {"skip_response": True}
    answer = world.do("stk", **STK, **extra)
    assert (answer["tries"], len(world.got)) == (2, 2)
    assert world.got[0] == world.got[1]


def test_it_gives_up_after_so_many_tries(world: World) -> None:
    world.statuses = [0x58] * 99
    world.do("stk", **STK)
    world.advance(60)
    assert len(world.got) == 5
    assert world.do("status")["open"] == 0


def test_faults_happen_by_chance(tmp_path: Path) -> None:
    world = World(tmp_path / "centre", chance=lambda: 0.0)
    world.do("faults", redeliver=1.0, duplicate=1.0, delay_s=1.0)
    world.do("sms", **{"from": PHONE, "text": "00"})
    world.advance(2.5)
    assert len(world.got) >= 4
    with pytest.raises(TypeError):
        world.do("faults", gremlins=1)


def test_messages_to_handsets_are_kept_whole(world: World) -> None:
    waiting: list[Any] = []
    Deferred.fromCoroutine(world.centre.verbs()["inbox"]({"number": CUSTOMER, "wait_s": 5})).addBoth(
        waiting.append
    )  # type: ignore[arg-type]
    assert waiting == []
    text = "您已充值50元" * 20
    sent: list[Any] = []
    world.server.send_text("0353911", CUSTOMER, text).addBoth(sent.append)
    world.flush()
    [inbox] = waiting
    assert inbox["total"] == 1
    assert inbox["messages"] == [{"sender": "0353911", "text": text, "at_ms": NOW_MS, "data": ""}]
    assert world.do("inbox", number="13800000000", wait_s=1) == {"total": 0, "messages": []}
    assert world.do("inbox", number=CUSTOMER, since=1)["messages"] == []


def test_messages_to_handsets_can_be_refused(world: World) -> None:
    world.do("refuse", n=1)
    results: list[Any] = []
    for _ in range(2):
        world.server.send_text("0353911", CUSTOMER, "ok").addBoth(results.append)
        world.flush()
    assert results[0].value.status == 0x58
    assert isinstance(results[1], tuple)
    assert world.do("inbox", number=CUSTOMER)["total"] == 1


def test_counter_and_last_recharge_survive_and_the_pin_is_not_kept(tmp_path: Path) -> None:
    world = World(tmp_path / "centre")
    serial = world.do("stk", **STK)["serial"]
    again = World(tmp_path / "centre")
    answer = again.do("stk", **{"from": PHONE, "operation": "reconfirm", "pin": "736194"})
    assert answer["counter"] == 2
    assert again.message().earlier == serial
    assert all("736194" not in file.read_text() for file in (tmp_path / "centre").iterdir())


def test_cards_file_and_packets_sealed_ahead(tmp_path: Path) -> None:
    rows = [{**ROW, "msisdn": PHONE, "tar": "", "key_index": 1}]
    rows.append(
        {
            "iccid": "8986",
            "msisdn": "13900001024",
            "kic": "0123456789abcdeffedcba9876543210",
            "kid": "00112233445566778899aabbccddeeff",
            "family": "3des",
        }
    )
    (tmp_path / "cards.json").write_text(json.dumps(rows))
    book = CardBook(tmp_path / "state.json")
    book.load(tmp_path / "cards.json")
    assert len(book) == 2
    cards = [book.card(PHONE), book.card("13900001024")]
    targets = [f"138{place:08d}" for place in range(10)]
    made = list(sealed_recharges(cards, targets, 5000, "736194", 1, bytes))
    assert [target for _, target, _ in made] == targets
    for place, (sender, target, packet) in enumerate(made):
        card = cards[place % 2]
        opened = open_command(packet, card.keys)
        assert (sender, opened.counter) == (card.msisdn, place // 2 + 1)
        assert decode(opened.data).target == target


def test_a_card_of_another_kind_is_refused() -> None:
    with pytest.raises(KeyError):
        SimCard.from_file({**ROW, "msisdn": PHONE, "kic": "00" * 7})


@pytest.mark.timeout(300)
def test_the_program_runs_both_ways_of_dialling(tmp_path: Path) -> None:
    """Two centres in processes of their own, one listening, one dialling: texts go both ways."""
    (tmp_path / "password").write_text("secret\n")
    ports = [free_port() for _ in range(3)]
    common = ["--password-file", str(tmp_path / "password"), "--sent-time-tlv", "0x1401"]
    sides = [
        ["--listen", f"tcp:{ports[0]}:interface=127.0.0.1", "--mo-pdu", "submit_sm"],
        ["--connect", f"tcp:127.0.0.1:{ports[0]}"],
    ]
    processes = []
    try:
        for place, side in enumerate(sides):
            control = [
                "--control",
                f"tcp:{ports[place + 1]}:interface=127.0.0.1",
                "--state",
                str(tmp_path / str(place)),
            ]
            command = [sys.executable, "-m", "aircharge.simulators.sms_centre", *side, *control, *common]
            processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        _until(lambda: ask("127.0.0.1", ports[2], "status")["bound"])
        for source, target in ((1, 2), (2, 1)):
            text = {"from": PHONE, "to": CUSTOMER, "text": f"from {source}", "wait_s": 25}
            assert ask("127.0.0.1", ports[source], "sms", **text)["status"] == 0
            inbox = ask("127.0.0.1", ports[target], "inbox", number=CUSTOMER, wait_s=25)
            assert [one["text"] for one in inbox["messages"]] == [f"from {source}"]
    finally:
        for process in processes:
            process.terminate()
        codes = [process.wait(60) for process in processes]
    assert codes == [0, 0]


def _until(is_so: Any, timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            if is_so():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("waited in vain")
