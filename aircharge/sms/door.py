"""The SMS door: a message of an outlet becomes an order or a question; the answer goes out through the outbox.

``answer`` resolves to the SMPP command_status as soon as the hold, the refusal or the reply is durable. The rest of
a recharge runs on by itself: its outcome reaches outlet and customer as notices of the commit that brings it about.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Final

from twisted.logger import Logger

from aircharge.errors import CommandFailed, LedgerError, Reason, Refusal, WireError
from aircharge.ledger.commands import Inquire
from aircharge.ledger.lookups import order_of
from aircharge.ledger.losing import ReportLost
from aircharge.ledger.pinning import ChangePin
from aircharge.ledger.reading import last_asked_back
from aircharge.ledger.returning import ReverseTransfer
from aircharge.ledger.reversing import OpenReversal
from aircharge.ledger.tickets import AskTicket
from aircharge.ledger.transferring import MoveCommission, Transfer
from aircharge.ports import Randomness
from aircharge.protocols.smpp_peer import PeerInfo
from aircharge.sms.acts import Wish, wish_of_stk, wish_of_text
from aircharge.sms.cardshelf import Card, CardShelf
from aircharge.sms.grammar import (
    Balance,
    History,
    Last,
    Lost,
    Question,
    Recap,
    Recharge,
    ServiceKind,
    Status,
    Unclear,
    Yes,
    parse,
)
from aircharge.switch.admission import Crowded
from aircharge.switch.board import Board
from aircharge.switch.funding import ask_ticket
from aircharge.switch.inquiry import inquire, object_to
from aircharge.switch.pin import change_pin
from aircharge.switch.recharge import accept, carry
from aircharge.switch.reversal import accept as accept_reversal
from aircharge.switch.transfer import move_money
from aircharge.switch.workload import Work
from aircharge.values import (
    YES_WORDS,
    Asker,
    CardUse,
    Channel,
    Key,
    Msisdn,
    Operation,
    Order,
    Pin,
    Said,
    address_digits,
)
from aircharge.wire.ota import Command, PorWhen, Response, Sts, open_command, seal_response
from aircharge.wire.smpp.constants import Status as CommandStatus
from aircharge.wire.smpp.message import MobileMessage
from aircharge.wire.stk import StkMessage, StkOperation
from aircharge.wire.stk import decode as decode_stk

__all__ = ["SmsDoor", "SmsSettings"]

log = Logger()

Spawn = Callable[[Coroutine[Any, Any, Any]], object]
"""Runs a coroutine to its end by itself; the daemon waits for those before it stops."""

SendPacket = Callable[[str, str, bytes, str], Coroutine[Any, Any, None]]
"""Sends a response packet: service number, card's number, packet (TS 31.115, UDH 02 71 00 not included), the SMS
centre that brought the card's."""

_REPEAT_WINDOW_MAX_H: Final = 31 * 24

_LOOK_BACK_MS: Final = 48 * 3_600_000
"""An accounting day is never longer; nothing older can be taken back."""

_QUESTIONS: Final[dict[type[Question], Callable[[Any], tuple[Operation, str]]]] = {
    Balance: lambda ask: (Operation.BALANCE, ""),
    Last: lambda ask: (Operation.LAST, ""),
    Status: lambda ask: (Operation.STATUS, ask.about),
    Recap: lambda ask: (Operation.RECAP, ask.day),
    History: lambda ask: (Operation.HISTORY, ""),
}
"""A plain question, as operation and what it is about."""

_STK_QUESTIONS: Final[dict[StkOperation, Callable[[StkMessage], tuple[Operation, str]]]] = {
    StkOperation.BALANCE: lambda content: (Operation.BALANCE, ""),
    StkOperation.LAST: lambda content: (Operation.LAST, ""),
    StkOperation.STATUS: lambda content: (Operation.STATUS, f"{content.reference:08d}"),
    StkOperation.RECAP: lambda content: (Operation.RECAP, f"{content.date:08d}" if content.date else ""),
    StkOperation.HISTORY: lambda content: (Operation.HISTORY, ""),
}
"""The same from the card's menu."""


@dataclass(frozen=True, slots=True)
class SmsSettings:
    """The service numbers and what counts as the same plain message."""

    recharge_number: str = "0353911"
    query_number: str = "0353910"
    answer_window_s: float = 300.0  # what was asked back may be answered with Y within this time
    repeat_window_h: float = (
        48.0  # so long the same plain text is not carried out again but with *2 (1 to 744)
    )
    refused_per_s: float = 500.0  # under load: messages opened and then refused; more are refused unread

    def __post_init__(self) -> None:
        if self.refused_per_s <= 0:
            raise ValueError("refused_per_s must be above 0")
        if not 1 <= self.repeat_window_h <= _REPEAT_WINDOW_MAX_H:
            raise ValueError("repeat_window_h is 1 to 744: at least as long as the SMS centre delivers again")

    @property
    def repeat_window_ms(self) -> int:
        return int(self.repeat_window_h * 3_600_000)


class SmsDoor:
    """Answers mobile-originated messages."""

    def __init__(
        self,
        board: Board,
        shelf: CardShelf,
        settings: SmsSettings,
        spawn: Spawn,
        chance: Randomness,
        pin_mark: Callable[[Pin | None], str],
        send_packet: SendPacket | None = None,
        told_later: Callable[[MobileMessage, Crowded], None] = lambda message, crowded: None,
    ) -> None:
        """``told_later``: who hears of a message whose like would be refused now."""
        self._told_later = told_later
        self._chance = chance
        self._pin_mark = pin_mark  # tells PINs apart in a fingerprint, and tells nothing of them
        self._send_packet = send_packet
        self._board = board
        self._shelf = shelf
        self._settings = settings
        self._spawn = spawn

    async def answer(self, message: MobileMessage, peer: PeerInfo) -> int:
        """Take one message; returns the command_status to answer the SMS centre with.

        0x58 asks it to slow down, 0x64 to deliver again later; whatever else is wrong with a message is answered 0
        and told to its sender, because the SMS centre cannot mend it.
        """
        try:
            phone, service = address_digits(message.source), message.destination
            asker = Asker(phone, address_digits(service), centre=peer.name)
            if message.is_secured:
                await self._secured(asker, message)
            else:
                await self._plain(asker, message)
        except Refusal as refusal:
            if refusal.reason is Reason.BUSY:
                if isinstance(refusal, Crowded) and self._is_typical(refusal.work, message):
                    self._told_later(message, refusal)
                return CommandStatus.ESME_RTHROTTLED
            log.warn("a message was dropped: {reason}", reason=refusal.reason.name)
        except CommandFailed as error:  # the ledger has told the outlet; delivered again it would fail again
            log.error("a message is refused: {error}", error=error)
        except LedgerError:
            log.failure("the ledger could not take a message: it is to be delivered again")
            return CommandStatus.ESME_RX_T_APPN
        return CommandStatus.ESME_ROK

    def _is_typical(self, work: Work, message: MobileMessage) -> bool:
        """Whether a message of this kind to this number is mostly of this class of work, or of one that goes first."""
        return work >= Work.WEB or message.destination.endswith(self._settings.query_number)

    # -- plain text ---------------------------------------------------------------------------------------

    async def _plain(self, asker: Asker, message: MobileMessage) -> None:
        kind = self._service_kind(asker.service)
        try:
            ask = parse(message.text or "", kind) if kind else None
        except Refusal as refusal:
            await object_to(self._board, asker, refusal.reason)
            return
        wish = wish_of_text(ask)
        if isinstance(ask, Recharge):
            await self._begin(self._plain_order(asker, message, ask), pin_needed=False)
        elif wish is not None:
            said = self._said(wish.operation, wish.words, wish.repeat, wish.pin, wish.new, wish.again)
            asker = replace(asker, pin=wish.pin)
            key = self._plain_key(asker, message, said, self._board.clock.now_ms())
            await self._carry_out(wish, Channel.SMS, key, asker, message.sent_ms, said)
        elif isinstance(ask, Yes):
            await self._plain_yes(asker, message, ask)
        elif isinstance(ask, Lost):
            asker = replace(asker, pin=ask.pin)
            said = self._said(Operation.STATUS, f"lost|{ask.number}", ask.repeat, ask.pin)
            now_ms = self._board.clock.now_ms()
            await self._board.ledger.do(
                ReportLost(Channel.SMS, asker, str(ask.number), now_ms, message.sent_ms, said)
            )
        elif isinstance(ask, Question):
            await self._plain_question(asker, message, ask)
        else:
            verb = ask.verb if isinstance(ask, Unclear) else ""
            await object_to(self._board, asker, Reason.FORMAT, verb)

    async def _plain_yes(self, asker: Asker, message: MobileMessage, ask: Yes) -> None:
        """What was asked back is meant: the same recharge, under a key that only one answer can take.

        An answer that may have been heard before answers nothing new: the question names the one that does.
        """
        said = Said(
            Operation.RECONFIRM,
            YES_WORDS,
            ask.repeat,
            self._pin_mark(ask.pin),
            self._settings.repeat_window_ms,
        )
        now_ms = self._board.clock.now_ms()
        since_ms = now_ms - int(self._settings.answer_window_s * 1000)
        asked = await self._board.ledger.read(lambda txn: last_asked_back(txn, asker.phone, since_ms))
        if asked is None:
            await object_to(self._board, asker, Reason.FORMAT, "Y", said=said, sent_ms=message.sent_ms)
            return
        words = _recharge_words(asked["msisdn"], asked["amount"])
        order = Order(
            Channel.SMS,
            Key(f"yes:{asker.phone}", str(asked["id"])),
            replace(asker, pin=ask.pin),
            Msisdn(asked["msisdn"]),
            asked["amount"],
            now_ms,
            message.sent_ms,
            asked["repeat_n"],
            said=said,
            answers=replace(
                self._said(Operation.RECHARGE, words, asked["repeat_n"]), pin=f"y{asked['id'] % 10**8}"
            ),
        )
        await self._begin(order, pin_needed=False, confirmed=True)

    async def _plain_question(self, asker: Asker, message: MobileMessage, ask: Question) -> None:
        operation, about = _QUESTIONS[type(ask)](ask)
        asker = replace(asker, pin=ask.pin)
        now_ms = self._board.clock.now_ms()
        mark = f"{operation.name}:{now_ms}"
        question = Inquire(operation, mark, asker, now_ms, Channel.SMS, message.sent_ms, about=about)
        await self._ask(asker, question)

    def _service_kind(self, service: str) -> ServiceKind | None:
        if service == self._settings.recharge_number:
            return ServiceKind.RECHARGE
        return ServiceKind.QUERY if service == self._settings.query_number else None

    def _said(self, operation: Operation, words: str, repeat: int, *pins: Pin | None) -> Said:
        """The words of a message; of several PINs together as little is kept as of one."""
        marks = [self._pin_mark(pin) for pin in pins if pin is not None]
        pin = marks[0] if len(marks) == 1 else _digest("|".join(marks))[:4] if marks else ""
        return Said(operation, _digest(words), repeat, pin, self._settings.repeat_window_ms)

    @staticmethod
    def _plain_key(asker: Asker, message: MobileMessage, said: Said, now_ms: int) -> Key:
        """The SMS centre's own time tells the message from every other; without it only its words do (``Said``)."""
        content = f"{said.words}|{said.repeat}|{said.pin}"
        if message.sent_ms is None:
            mark = f"fp:{_digest(content)}:{now_ms}"
        elif message.reference is not None:
            mark = f"ref:{message.sent_ms}:{message.reference}"
        else:
            mark = f"at:{message.sent_ms}:{_digest(content)}"
        return Key(f"sms:{asker.phone}", mark)

    def _plain_order(self, asker: Asker, message: MobileMessage, ask: Recharge) -> Order:
        words = _recharge_words(ask.target, ask.amount_fen)
        said = self._said(Operation.RECHARGE, words, ask.repeat, ask.pin)
        now_ms = self._board.clock.now_ms()
        return Order(
            Channel.SMS,
            self._plain_key(asker, message, said, now_ms),
            replace(asker, pin=ask.pin),
            ask.target,
            ask.amount_fen,
            now_ms,
            message.sent_ms,
            ask.repeat,
            said=said,
        )

    # -- STK: secured packets -----------------------------------------------------------------------------

    async def _secured(self, asker: Asker, message: MobileMessage) -> None:
        opened = await self._open(asker.phone, message.data)
        if opened is None:
            await object_to(self._board, asker, Reason.CARD)
            return
        card, packet = opened
        try:
            content = decode_stk(packet.data)
        except WireError as error:
            log.warn("card {card}: {why}", card=card.card_id, why=error.why)
            await object_to(self._board, asker, Reason.FORMAT)
            self._prove(asker, card, packet, Sts.UNIDENTIFIED)
            return
        use = CardUse(card.card_id, card.key_version, content.serial, packet.counter)
        asker = replace(asker, card=use, pin=content.pin)
        sent_ms = _sent_ms(content, message)
        wish = wish_of_stk(content)
        if content.operation in (StkOperation.RECHARGE, StkOperation.RECONFIRM):
            await self._stk_order(asker, content, sent_ms)
        elif wish is not None:
            key = Key(f"stk:{card.card_id}", f"{content.serial:016x}")
            await self._carry_out(wish, Channel.STK, key, asker, sent_ms)
        elif content.operation in _STK_QUESTIONS:
            await self._stk_question(asker, content, sent_ms)
        else:
            await object_to(self._board, asker, Reason.FORMAT)
        self._prove(asker, card, packet, Sts.OK)

    def _prove(self, asker: Asker, card: Card, packet: Command, status: Sts) -> None:
        """Send the card the proof of receipt that its SPI asks for: its packet was opened and is durable.

        What became of the order is told by text. A packet that no key opened is answered by no packet.
        """
        when = packet.spi.por
        if self._send_packet is None or not (
            when == PorWhen.ALWAYS or (when == PorWhen.ON_ERROR and status is not Sts.OK)
        ):
            return
        try:
            proof = seal_response(
                Response(packet.tar, packet.counter, status), packet, card.keys, card.profile
            )
        except WireError as error:
            log.warn("card {card} asks for a proof we may not give: {why}", card=card.card_id, why=error.why)
            return
        self._spawn(self._send_packet(asker.service, asker.phone, proof, asker.centre))

    async def _open(self, phone: str, packet: bytes) -> tuple[Card, Command] | None:
        """The packet's content under the card's keys; None when it is not from that card.

        Keys on the shelf may be outdated: before a packet is refused they are fetched once more.
        """
        card = self._shelf.kept(phone)
        for attempt in range(2):
            if card is None or attempt:
                card = await self._shelf.fetch(phone)
            if card is None:
                return None
            try:
                return card, open_command(packet, card.keys, card.profile)
            except WireError as error:
                log.debug("card {card}: packet refused: {why}", card=card.card_id, why=error.why)
        return None

    async def _stk_order(self, asker: Asker, content: StkMessage, sent_ms: int | None) -> None:
        assert asker.card is not None
        scope = f"stk:{asker.card.card_id}"
        try:
            target = Msisdn.parse(content.target)
        except Refusal:
            target = Msisdn(content.target)  # the ledger records the refusal under the message's own key
        order = Order(
            Channel.STK,
            Key(scope, f"{content.serial:016x}"),
            asker,
            target,
            content.amount_fen,
            self._board.clock.now_ms(),
            sent_ms,
            content.repeat,
            earlier=Key(scope, f"{content.earlier:016x}") if content.earlier is not None else None,
        )
        await self._begin(order, pin_needed=True)

    async def _stk_question(self, asker: Asker, content: StkMessage, sent_ms: int | None) -> None:
        operation, about = _STK_QUESTIONS[content.operation](content)
        question = Inquire(
            operation,
            f"{content.serial:016x}",
            asker,
            self._board.clock.now_ms(),
            Channel.STK,
            sent_ms,
            pin_needed=True,
            about=about,
        )
        await self._ask(asker, question)

    # -- what both ask for --------------------------------------------------------------------------------

    async def _ask(self, asker: Asker, question: Inquire) -> None:
        try:
            await inquire(self._board, question)
        except Refusal as refusal:
            if refusal.reason is Reason.BUSY:
                raise  # the same again, later
            await object_to(self._board, asker, refusal.reason)

    async def _carry_out(
        self,
        wish: Wish,
        channel: Channel,
        key: Key,
        asker: Asker,
        sent_ms: int | None,
        said: Said | None = None,
    ) -> None:
        """One of the acts beside recharging; durable when it returns."""
        now_ms, board = self._board.clock.now_ms(), self._board
        head = (channel, key, asker)
        more: dict[str, Any] = {"received_ms": now_ms, "sent_ms": sent_ms, "said": said}
        if wish.operation is Operation.TRANSFER:
            await move_money(board, Transfer(*head, wish.party, wish.amount_fen, repeat=wish.repeat, **more))
        elif wish.operation is Operation.COMMISSION:
            await move_money(board, MoveCommission(*head, wish.amount_fen, **more))
        elif wish.operation is Operation.TICKET:
            await ask_ticket(board, AskTicket(*head, wish.amount_fen, (), **more))
        elif wish.operation is Operation.REVERSAL:
            await self._take_back(wish, head, more)
        else:
            assert wish.pin is not None
            assert wish.new is not None
            assert wish.again is not None
            pins = (wish.pin, wish.new, wish.again)
            change = ChangePin(channel, asker, *pins, now_ms, sent_ms, said=said)
            await change_pin(board, change, self._chance)

    async def _take_back(self, wish: Wish, head: tuple[Channel, Key, Asker], more: dict[str, Any]) -> None:
        """A recharge by number and amount, or whatever has the reference: a recharge or a transfer."""
        board, phone, orig_id = self._board, head[2].phone, 0
        if wish.about:
            since_ms = board.clock.now_ms() - _LOOK_BACK_MS
            found = await board.ledger.read(lambda txn: order_of(txn, phone, wish.about, since_ms))
            orig_id, kind = found or (0, Operation.RECHARGE)
            if kind is Operation.TRANSFER:
                await move_money(board, ReverseTransfer(*head, orig_id, **more))
                return
        asked: dict[str, Any] = {"target": wish.target, "amount_fen": wish.amount_fen, **more}
        reversal = OpenReversal(*head, orig_id, consent=wish.consent, **asked)
        self._spawn(carry(board, await accept_reversal(board, reversal)))

    async def _begin(self, order: Order, *, pin_needed: bool, confirmed: bool = False) -> None:
        receipt = await accept(self._board, order, pin_needed=pin_needed, confirmed=confirmed)
        self._spawn(carry(self._board, receipt))


def _recharge_words(target: str, amount_fen: int) -> str:
    return f"{int(Operation.RECHARGE)}|{target}|{amount_fen}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _sent_ms(content: StkMessage, message: MobileMessage) -> int | None:
    """When it was sent: by the SMS centre's clock where it tells, else by the phone's (0 = it has none).

    Phones' clocks are often wrong; a phone that is an hour slow must not be refused for ever.
    """
    return message.sent_ms or content.sent_s * 1000 or None
