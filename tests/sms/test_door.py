"""The SMS door on a real book, in one process: what the SMS centre is answered, and what becomes of the order."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail

from aircharge.config import load
from aircharge.errors import LedgerError, Reason, Refusal
from aircharge.instance import DEMO_PIN, Instance, Ports, Shop
from aircharge.ledger.book import RULES
from aircharge.ledger.commands import NoticeRow, OpenRecharge
from aircharge.ledger.policy_loading import bump_policy_txn
from aircharge.ledger.writer import InlineLedger
from aircharge.machine import SystemClock, SystemRandomness, open_store
from aircharge.office import Office
from aircharge.outlets.registry import Desk, OutletForm, block_card_txn
from aircharge.protocols.smpp import PeerInfo
from aircharge.sms.cardshelf import CardShelf
from aircharge.sms.door import SmsDoor
from aircharge.switch.admission import Admission
from aircharge.switch.board import Board, CodeTable, DoubtPolicy, OperatorPlan, Products
from aircharge.switch.workload import Work
from aircharge.values import Msisdn, Pin
from aircharge.wire.gsm import Element
from aircharge.wire.ota import Check, Command, KeySet, PorWhen, Spi, Sts, open_response, seal_command
from aircharge.wire.smpp.constants import Status
from aircharge.wire.smpp.message import MobileMessage
from aircharge.wire.stk import StkMessage, StkOperation, encode
from tests.switch.world import ScriptedLine, now

PHONE, ICCID = "13900000001", "89860000000000000001"
PEER = PeerInfo("smsc", 1)


class World:
    """A door with everything real behind it but the operator's line."""

    def __init__(self, folder: Path) -> None:
        self.instance = Instance(folder, Ports())
        self.config = self.instance.create([Shop("A1", PHONE, ICCID)])
        self.clock = SystemClock()
        self.store = open_store(self.config, self.clock, 1)
        self.ledger = InlineLedger(self.store)
        self.notices: list[NoticeRow] = []
        self.ledger.on_notices(self.notices.extend)
        self.trace: list[Any] = []
        self.line = ScriptedLine(self.trace)
        codes = CodeTable(frozenset({"0000"}), {"1001": Reason.NUMBER_NO})
        plan = OperatorPlan(1, "op", self.line, ("13", "15"), Products(), codes, DoubtPolicy(mode="resend"))
        self.board = Board(self.ledger, [plan], self.clock)
        profiles = self.config.card_profiles()
        self.shelf = CardShelf(self.ledger, self.config.key_ring(), profiles, size_max=2)
        self.door = SmsDoor(
            self.board,
            self.shelf,
            self.config.sms,
            Deferred.fromCoroutine,
            SystemRandomness(),
            self.config.pin_hash().mark,
            self.send_packet,
        )
        self.proofs: list[tuple[str, str, bytes, str]] = []
        [card] = json.loads((folder / "cards.json").read_text())
        self.keys = KeySet(bytes.fromhex(card["kic"]), bytes.fromhex(card["kid"]), 1)
        self._counter = 0

    async def send_packet(self, *packet: Any) -> None:
        self.proofs.append(packet)

    def plain(self, text: str, *, source: str = PHONE, to: str = "0353911", **more: Any) -> int:
        return int(now(self.door.answer(MobileMessage(source, to, text, text.encode(), **more), PEER)))

    def packet(self, message: StkMessage) -> bytes:
        self._counter += 1
        return seal_command(
            Command(Spi.of(), 0x12, 0x12, b"\xa1\xc0\x01", self._counter, encode(message)), self.keys
        )

    def stk(self, packet: bytes, *, source: str = PHONE) -> int:
        element = (Element(0x70, b""),)
        message = MobileMessage(source, "0353911", None, packet, element, 0xF6)
        return int(now(self.door.answer(message, PEER)))

    def message(
        self, serial: int = 1, operation: StkOperation = StkOperation.RECHARGE, **more: Any
    ) -> StkMessage:
        order = {"target": "13812345678", "amount_fen": 5000} if operation <= StkOperation.RECONFIRM else {}
        sent_s = more.pop("sent_s", self.clock.now_ms() // 1000)
        return StkMessage(operation, serial, Pin(DEMO_PIN), sent_s, **(order | more))

    def topics(self) -> list[str]:
        told = [(row.topic, row.facts.get("reason")) for row in self.notices]
        self.notices.clear()
        return [f"{topic}.{reason}" if reason and "settled" not in topic else topic for topic, reason in told]

    def told_of(self, fact: str) -> list[Any]:
        return [row.facts[fact] for row in self.notices if fact in row.facts]

    def asked(self) -> int:
        return len(self.trace)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.engine.dispose()


SETTLED = ["outlet.settled", "customer.settled"]


def test_a_plain_recharge(world: World) -> None:
    assert world.plain("13812345678 50") == Status.ESME_ROK
    assert world.topics() == SETTLED
    assert world.asked() == 1


def test_the_same_text_a_moment_later_is_the_same_message(world: World) -> None:
    world.plain("13812345678 50")
    world.plain("１３８１２３４５６７８　５０元")
    assert world.topics() == [*SETTLED, "outlet.refused.DUPLICATE"]
    assert world.asked() == 1


def test_the_sms_centres_own_mark_tells_messages_apart(world: World) -> None:
    at_ms = world.clock.now_ms()
    world.plain("13812345678 50", sent_ms=at_ms, reference=7)
    world.plain("13812345678 50", sent_ms=at_ms, reference=7)
    world.plain("13812345678 50*2", sent_ms=at_ms, reference=8)
    world.plain("13812345678 50", sent_ms=at_ms, reference=9)
    assert world.topics() == [*SETTLED, "outlet.settled", *SETTLED, "outlet.refused.DUPLICATE"]
    assert world.asked() == 2


@pytest.mark.parametrize(
    ("text", "to", "topic"),
    [
        ("00", "0353910", "outlet.balance"),
        ("１１", "0353910", "outlet.last"),
        ("10", "0353910", "outlet.history"),
        ("12 13812345678", "0353910", "outlet.status"),
        ("12 00000001", "0353910", "outlet.status"),
        ("13", "0353910", "outlet.recap"),
        ("13 1122", "0353910", "outlet.recap"),
        ("13 20261122", "0353910", "outlet.recap"),
        ("13 1332", "0353910", "outlet.help.FORMAT"),
        ("50 13812345678", "0353911", "outlet.help.FORMAT"),
        ("hello", "0353911", "outlet.help.FORMAT"),
        ("1381234567 50", "0353911", "outlet.help.NUMBER"),
        ("13812345678 50.505", "0353911", "outlet.help.AMOUNT"),
        ("13812345678 50", "0353999", "outlet.help.FORMAT"),
        ("17712345678 50", "0353911", "outlet.refused.NUMBER"),
        ("13812345678 51", "0353911", "outlet.refused.AMOUNT"),
        ("13812345678 50 000000", "0353911", "outlet.refused.PIN_WRONG"),
    ],
)
def test_what_a_text_is_answered(world: World, text: str, to: str, topic: str) -> None:
    assert world.plain(text, to=to) == Status.ESME_ROK
    assert world.topics() == [topic]
    assert world.asked() == 0


def test_a_stranger_is_told_twice_and_then_met_with_silence(world: World) -> None:
    for _ in range(5):
        world.plain("13812345678 50", source="13900009999")
    assert len(world.topics()) == 3
    assert world.asked() == 0


def test_an_encrypted_recharge_its_repetition_and_its_replay_twin(world: World) -> None:
    packet = world.packet(world.message())
    assert world.stk(packet) == Status.ESME_ROK
    assert world.stk(packet) == Status.ESME_ROK
    assert world.topics() == [*SETTLED, "outlet.settled"]
    world.stk(world.packet(world.message(amount_fen=10_000)))  # same serial, other content, properly sealed
    assert world.topics() == ["outlet.refused.CLASH"]
    assert world.asked() == 1


def test_a_bad_mac_consumes_nothing(world: World) -> None:
    packet = world.packet(world.message())
    assert world.stk(packet[:-1] + bytes([packet[-1] ^ 1])) == Status.ESME_ROK
    assert world.topics() == ["outlet.help.CARD"]
    world.stk(packet)
    assert world.topics() == SETTLED


def test_a_packet_from_another_phone_is_refused(world: World) -> None:
    world.stk(world.packet(world.message()), source="13900000099")
    assert world.topics() == ["sender.unknown.CARD"]
    assert world.asked() == 0


def test_a_sealed_message_that_says_nothing(world: World) -> None:
    nonsense = Command(Spi.of(), 0x12, 0x12, b"\xa1\xc0\x01", 9, b"\x01\x63" + bytes(16))
    world.stk(seal_command(nonsense, world.keys))
    assert world.topics() == ["outlet.help.FORMAT"]


@pytest.mark.parametrize("por", list(PorWhen))
@pytest.mark.parametrize("good", [True, False])
def test_a_card_that_asks_for_a_proof_of_receipt_gets_it(world: World, por: PorWhen, good: bool) -> None:
    data = encode(world.message()) if good else b"\x01\x63" + bytes(16)
    spi = Spi.of(por=por, por_check=Check.CC, por_ciphered=True)
    command = Command(spi, 0x12, 0x12, b"\xa1\xc0\x01", 5, data)
    world.stk(seal_command(command, world.keys))
    if por is PorWhen.NEVER or (good and por is PorWhen.ON_ERROR):
        assert world.proofs == []
        return
    [(service, phone, packet, centre)] = world.proofs
    assert centre == "smsc"
    assert (service, phone) == ("0353911", PHONE)
    proof = open_response(packet, command, world.keys)
    assert (proof.status, proof.counter) == (Sts.OK if good else Sts.UNIDENTIFIED, 5)


@pytest.mark.parametrize(
    ("card_s", "centre_s", "topic"),
    [
        (-5, -5, "outlet.balance"),
        (-700, -5, "outlet.balance"),  # a slow phone
        (-5, -700, "outlet.refused.STALE"),
        (-700, None, "outlet.refused.STALE"),
        (-5, None, "outlet.balance"),
    ],
)
def test_the_sms_centres_clock_goes_before_the_phones(
    world: World, card_s: int, centre_s: int | None, topic: str
) -> None:
    now_s = world.clock.now_ms() // 1000
    sealed = world.packet(world.message(1, StkOperation.BALANCE, sent_s=now_s + card_s))
    sent_ms = None if centre_s is None else (now_s + centre_s) * 1000
    message = MobileMessage(PHONE, "0353910", None, sealed, (Element(0x70, b""),), 0xF6, sent_ms=sent_ms)
    now(world.door.answer(message, PEER))
    assert world.topics() == [topic]


def test_a_phone_without_a_clock_may_still_ask(world: World) -> None:
    world.stk(world.packet(world.message(1, StkOperation.BALANCE, sent_s=0)))
    assert world.topics() == ["outlet.balance"]


def test_a_card_may_send_any_digits(world: World) -> None:
    world.stk(world.packet(world.message(target="123")))
    assert world.topics() == ["outlet.refused.NUMBER"]


def test_reconfirm_of_a_known_and_of_an_unknown_serial(world: World) -> None:
    world.stk(world.packet(world.message(1)))
    world.stk(world.packet(world.message(2, StkOperation.RECONFIRM, earlier=1)))
    assert world.topics() == [*SETTLED, "outlet.state.OK"]
    late = world.packet(world.message(3, target="13812345679"))
    world.stk(world.packet(world.message(4, StkOperation.RECONFIRM, earlier=3, target="13812345679")))
    world.stk(late)
    assert world.topics() == [*SETTLED, "outlet.settled"]
    assert world.asked() == 2


def test_questions_of_a_card(world: World) -> None:
    world.stk(world.packet(world.message(1, StkOperation.BALANCE)))
    world.stk(world.packet(world.message(2, StkOperation.LAST)))
    assert world.topics() == ["outlet.balance", "outlet.last"]


def test_a_blocked_card_is_refused_although_it_is_on_the_shelf(world: World) -> None:
    world.stk(world.packet(world.message(1)))
    world.topics()
    with world.store.writing() as txn:
        block_card_txn(Desk(txn, world.clock.now_ms(), "clerk"), ICCID)
    world.stk(world.packet(world.message(2, target="13812345679")))
    assert world.topics() == ["outlet.refused.CARD"]


def test_a_full_ledger_slows_the_sms_centre_down(world: World) -> None:
    def full(command: object) -> Deferred[object]:
        raise Refusal(Reason.BUSY)

    world.board.ledger = dataclasses.make_dataclass("Full", [])()
    world.board.ledger.do = full  # type: ignore[attr-defined]
    assert world.plain("13812345678 50") == Status.ESME_RTHROTTLED


def test_under_load_the_sms_centre_is_told_to_come_later_and_nobody_else_anything(world: World) -> None:
    told: list[tuple[str, Work]] = []
    world.door._told_later = lambda message, crowded: told.append((message.destination, crowded.work))
    world.board.admission = Admission(world.clock, ledger_waiting=lambda: 10_000)
    packets = [
        world.packet(world.message(1)),
        world.packet(world.message(2, StkOperation.BALANCE)),
        world.packet(world.message(3, StkOperation.PIN_CHANGE, new_pin=Pin("842651"))),
    ]
    texts = [("13812345678 50", "0353911"), ("00", "0353910"), ("nonsense", "0353911")]
    assert {world.stk(packet) for packet in packets} == {Status.ESME_RTHROTTLED}
    assert {world.plain(text, to=to) for text, to in texts} == {Status.ESME_RTHROTTLED}
    assert (world.topics(), world.asked(), world.proofs) == ([], 0, [])
    # What may be of another class than the like of it is not held against those.
    assert told == [
        ("0353911", Work.CARD),
        ("0353911", Work.CARD),
        ("0353911", Work.TEXT),
        ("0353910", Work.QUESTION),
    ]
    world.board.admission = Admission(world.clock)
    assert [world.stk(packet) for packet in packets] == [Status.ESME_ROK] * 3
    assert world.topics() == [*SETTLED, "outlet.balance", "outlet.pin-changed"]


def test_a_reversal_comes_in_whatever_there_is_to_do(world: World) -> None:
    world.plain("13812345678 50")
    world.topics()
    world.board.admission = Admission(world.clock, ledger_waiting=lambda: 10_000)
    assert world.plain(f"14 13812345678 50 {DEMO_PIN}") == Status.ESME_ROK
    assert world.topics() == ["outlet.reversed", "customer.reversed"]


def test_an_unknown_commit_is_to_be_delivered_again(world: World) -> None:
    world.board.ledger = dataclasses.make_dataclass("Lost", [])()
    world.board.ledger.do = lambda command: fail(LedgerError("unknown"))  # type: ignore[attr-defined]
    assert world.plain("13812345678 50") == Status.ESME_RX_T_APPN


def test_a_source_that_is_no_number_is_dropped(world: World) -> None:
    assert world.plain("13812345678 50", source="SMSC") == Status.ESME_ROK
    assert world.topics() == []


def test_the_shelf_keeps_no_more_than_it_may(world: World) -> None:
    card = now(world.shelf.fetch(PHONE))
    assert card is not None
    assert world.shelf.kept(PHONE) is card
    assert now(world.shelf.fetch("13900000002")) is None
    assert "kic" not in repr(card)


def test_an_outlets_phone_is_recognised_in_any_form(world: World) -> None:
    world.plain("13812345678 50", source="+8613900000001")
    world.plain("13812345679 50", source="8613900000001", to="0353911")
    assert world.topics() == [*SETTLED, *SETTLED]


def test_targets_and_operators(world: World) -> None:
    assert world.board.serving(Msisdn("15012345678")) is not None
    assert world.board.serving(Msisdn("17712345678")) is None
    assert load(world.instance.config_file).operator[0].id == 1


def test_questions_about_orders_and_days_are_answered_with_their_facts(world: World) -> None:
    world.plain("13812345678 50")
    world.plain("13812345679 30")
    world.line.answers = ["1001"]
    world.plain("15012345678 20")
    orders = [row.facts["order_id"] for row in world.notices if row.topic.startswith("outlet.")]
    world.notices.clear()
    word = world.config.phrases().word
    for text in ("10", f"12 {orders[0] % 10**8:08d}", "12 15012345678", "12 13912345678", "13", "13 0101"):
        world.plain(text, to="0353910")
    told = [word(row) for row in world.notices]
    assert [line[-8:] for line in told[0].split("\n")] == ["678 20失败", "679 30成功", "678 50成功"]
    assert told[1].startswith(f"流水{orders[0] % 10**8:08d} ")
    assert told[1].endswith(" 13812345678 50.00元:成功。")
    assert "15012345678 20.00元:失败" in told[2]
    assert "查无" in told[3]
    assert "成功2笔80.00元,返销0笔0.00元,佣金0.00元,在途0笔" in told[4]
    assert "01-01成功0笔0.00元" in told[5]


@pytest.mark.parametrize(
    ("operation", "fields", "topic"),
    [
        (StkOperation.STATUS, {"reference": 12}, "outlet.status"),
        (StkOperation.RECAP, {"date": 0}, "outlet.recap"),
        (StkOperation.RECAP, {"date": 20_261_122}, "outlet.recap"),
        (StkOperation.RECAP, {"date": 20_261_322}, "outlet.help.FORMAT"),
        (StkOperation.HISTORY, {}, "outlet.history"),
    ],
)
def test_the_card_asks_the_same_questions(
    world: World, operation: StkOperation, fields: dict[str, int], topic: str
) -> None:
    sent_s = world.clock.now_ms() // 1000
    packet = world.packet(StkMessage(operation, 5, Pin(DEMO_PIN), sent_s, **fields))  # type: ignore[arg-type]
    assert world.stk(packet) == Status.ESME_ROK
    assert world.topics() == [topic]


def test_other_outlets_orders_are_not_told(world: World) -> None:
    with world.store.writing() as txn:
        txn.exec_driver_sql("UPDATE outlet_phone SET rights = 1")
    world.plain("12 13812345678", to="0353910")
    assert world.topics() == ["outlet.refused.RIGHTS"]


def test_a_number_that_looks_mistyped_is_asked_back_and_goes_on_with_a_yes(world: World) -> None:
    world.plain("Y")
    assert world.topics() == ["outlet.help.FORMAT"]
    for repeat in ("", "*2", "*3"):
        world.plain(f"13812345678 50{repeat}")
    with world.store.writing() as txn:
        body = '{"guard": "all", "rules": []}'
        statement = "INSERT INTO rule_set (version, state, body, author, made_ms) VALUES (1, 1, ?, 'risk', 0)"
        txn.exec_driver_sql(statement, (body,))
        bump_policy_txn(txn)
    world.topics()
    asked = world.asked()
    world.plain("13812345679 50")
    assert world.told_of("answer") == ["Y2"]  # the "Y" of before may come again
    assert world.topics() == ["outlet.refused.CONFIRM"]
    assert world.asked() == asked
    world.plain("y")
    assert world.topics() == ["outlet.refused.DUPLICATE"]
    world.plain("y2")
    assert world.topics() == SETTLED
    world.plain("y2")  # once more: told again, not done again
    assert world.topics() == ["outlet.refused.DUPLICATE"]
    assert world.asked() == asked + 1


def child(world: World, code: str = "B2", phone: str = "13900000002") -> None:
    """An outlet under A1."""
    office = Office(world.config)
    office.add_outlet(OutletForm(code, "child", (phone,), "zh", "never"), Pin(DEMO_PIN), actor="test")
    office.close()
    with world.store.writing() as txn:
        txn.exec_driver_sql(
            "UPDATE outlet SET level = 3 WHERE code = 'A1'",
        )
        txn.exec_driver_sql(
            "UPDATE outlet SET parent_id = (SELECT id FROM outlet WHERE code = 'A1') WHERE code = 'B2'"
        )


def balance(world: World, code: str) -> int:
    question = "SELECT posted FROM balance JOIN outlet ON float_id = account_id WHERE code = ?"
    with world.store.engine.connect() as txn:
        return int(txn.exec_driver_sql(question, (code,)).scalar_one())


def test_float_goes_to_another_outlet_by_text_and_by_card(world: World) -> None:
    child(world)
    before_fen = balance(world, "A1")
    world.plain(f"15 B2 1000 {DEMO_PIN}")
    assert sorted(world.topics()) == ["outlet.received", "outlet.transferred"]
    world.plain(f"15 B2 1000 {DEMO_PIN}")  # the SMS centre again, or not
    assert world.told_of("became") == ["transfer-done"]
    assert world.topics() == ["outlet.refused.DUPLICATE"]
    packet = world.packet(world.message(9, StkOperation.TRANSFER, party="B2", amount_fen=50_000))
    world.stk(packet)
    world.stk(packet)
    assert sorted(world.topics()) == ["outlet.received", "outlet.transferred", "outlet.transferred"]
    assert balance(world, "B2") == 150_000
    assert balance(world, "A1") == before_fen - 150_000


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("15 B2 1000 000000", "outlet.refused.PIN_WRONG"),
        (f"15 NOBODY 1000 {DEMO_PIN}", "outlet.refused.NOT_FOUND"),
        (f"15 A1 1000 {DEMO_PIN}", "outlet.refused.NO_RULE"),
        (f"15 B2 99999999 {DEMO_PIN}", "outlet.refused.FLOAT"),
        (f"15 B2 0 {DEMO_PIN}", "outlet.help.AMOUNT"),
        (f"15 B2 10000000000000000000 {DEMO_PIN}", "outlet.help.AMOUNT"),
        (f"19 {DEMO_PIN}", "outlet.refused.FLOAT"),
    ],
)
def test_bad_transfers_are_refused_and_move_nothing(world: World, text: str, topic: str) -> None:
    child(world)
    before_fen = balance(world, "A1")
    assert world.plain(text) == Status.ESME_ROK
    assert world.topics() == [topic]
    assert (balance(world, "A1"), balance(world, "B2")) == (before_fen, 0)


def test_a_recharge_is_taken_back_by_text_and_by_card(world: World) -> None:
    before_fen = balance(world, "A1")
    world.plain("13812345678 50")
    world.plain("13812345679 30")
    world.topics()
    world.plain(f"14 13812345678 50 {DEMO_PIN}")
    assert world.topics() == ["outlet.reversed", "customer.reversed"]
    assert [verb for verb, _ in world.trace] == ["recharge", "recharge", "reverse"]
    world.plain(f"14 13812345678 50 {DEMO_PIN}")  # the SMS centre again, or not
    assert world.topics() == ["outlet.refused.DUPLICATE"]
    world.stk(world.packet(world.message(9, StkOperation.REVERSAL, target="13812345679", amount_fen=3_000)))
    assert world.topics() == ["outlet.reversed", "customer.reversed"]
    assert balance(world, "A1") == before_fen
    assert world.asked() == 4


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("14 13812345678 50 000000", "outlet.refused.PIN_WRONG"),
        (f"14 13812345678 30 {DEMO_PIN}", "outlet.refused.NOT_FOUND"),
        (f"14 13912345678 50 {DEMO_PIN}", "outlet.refused.NOT_FOUND"),
        (f"14 13812345678 0 {DEMO_PIN}", "outlet.help.AMOUNT"),
    ],
)
def test_what_cannot_be_taken_back_is_refused(world: World, text: str, topic: str) -> None:
    world.plain("13812345678 50")
    world.topics()
    after_fen = balance(world, "A1")
    assert world.plain(text) == Status.ESME_ROK
    assert world.topics() == [topic]
    assert balance(world, "A1") == after_fen
    assert world.asked() == 1


def test_a_deposit_is_announced(world: World) -> None:
    world.plain("16 5000")
    [row] = world.notices
    assert row.topic == "outlet.ticket"
    assert 500_000 < row.facts["exact_fen"] < 500_100
    world.plain("16 5000")  # the same message
    assert [row.facts["exact_fen"] for row in world.notices] == [row.facts["exact_fen"]] * 2
    world.topics()
    world.stk(world.packet(world.message(9, StkOperation.TICKET, amount_fen=500_000)))
    assert world.topics() == ["outlet.ticket"]


def test_the_pin_is_changed_by_text_and_by_card(world: World) -> None:
    world.plain(f"17 {DEMO_PIN} 415926 415926")
    assert world.topics() == ["outlet.pin-changed"]
    world.plain(f"17 {DEMO_PIN} 415926 415926")  # the SMS centre again: no wrong PIN
    assert world.topics() == ["outlet.refused.DUPLICATE"]
    world.plain("13812345678 50 415926")
    assert world.topics() == SETTLED
    sent_s = world.clock.now_ms() // 1000
    said = StkMessage(StkOperation.PIN_CHANGE, 77, Pin("415926"), sent_s, new_pin=Pin("860341"))
    world.stk(world.packet(said))
    assert world.topics() == ["outlet.pin-changed"]
    for text, topic in (
        ("17 860341 111111 111111", "outlet.refused.PIN_WEAK"),
        ("17 860341 415926 415926", "outlet.refused.PIN_WEAK"),
        ("17 860341 264081 264082", "outlet.refused.PIN_WEAK"),
        (f"17 {DEMO_PIN} 264081 264081", "outlet.refused.PIN_WRONG"),
    ):
        world.plain(text)
        assert world.topics() == [topic]
    assert not any(pin in json.dumps(row.facts) for row in world.notices for pin in ("415926", "860341"))


def test_what_is_taken_back_may_be_named_by_its_number(world: World) -> None:
    child(world)
    before_fen = balance(world, "A1")
    world.plain("13812345678 50")
    recharge = world.notices[0].facts["order_id"]
    world.plain(f"15 B2 1000 {DEMO_PIN}")
    transfer = world.notices[-1].facts["order_id"]
    world.topics()
    for _ in range(2):  # the SMS centre may repeat itself
        world.plain(f"14 {transfer % 10**8:08d} {DEMO_PIN}")
    told = world.topics()
    assert sorted(told) == ["outlet.refused.DUPLICATE", *["outlet.transfer-reversed"] * 2]
    said = StkMessage(
        StkOperation.TAKE_BACK,
        5,
        Pin(DEMO_PIN),
        world.clock.now_ms() // 1000,
        reference=recharge % 10**8,
    )
    world.stk(world.packet(said))
    assert world.topics() == ["outlet.reversed", "customer.reversed"]
    assert (balance(world, "A1"), balance(world, "B2")) == (before_fen, 0)
    world.plain(f"14 {(recharge + 1) % 10**8:08d} {DEMO_PIN}")
    assert world.topics() == ["outlet.refused.NOT_FOUND"]


def test_a_message_that_meets_a_bug_is_taken_and_its_sender_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivered again it would meet it again, so the SMS centre is not asked to."""
    rule = RULES[OpenRecharge]

    def decide(page: Any, command: Any) -> Any:
        raise KeyError(command)

    monkeypatch.setitem(RULES, OpenRecharge, dataclasses.replace(rule, decide=decide))
    assert world.plain("13812345678 50") == Status.ESME_ROK
    assert [(notice.topic, notice.facts["reason"]) for notice in world.notices] == [
        ("outlet.refused", "INTERNAL")
    ]
    monkeypatch.undo()
    assert world.plain("13812345679 50") == Status.ESME_ROK


def test_a_refused_transfer_named_by_a_reversal_ends_nothing(world: World) -> None:
    """L1 of 2026-11-30: two messages of one outlet ended the daemon for everybody."""
    world.plain(f"15 NOBODY 10 {DEMO_PIN}", to="0353911")
    number = world.notices[-1].facts["order_id"]
    assert world.plain(f"14 {number % 10**8:08d} {DEMO_PIN}") == Status.ESME_ROK
    assert world.notices[-1].facts["reason"] == "NOT_REVERSIBLE"
