"""An SMS centre with handsets and SIM cards: true SMPP on one side, a control line on the other.

``python -m aircharge.simulators.sms_centre --connect tcp:127.0.0.1:2775 --system-id smsc --password-file FILE
--control tcp:7803:interface=127.0.0.1 --state DIR --cards cards.json``. It binds as a transceiver (or, with
``--listen``, is bound to), brings what handsets write as deliver_sm or submit_sm, takes either as messages to
handsets, joins their parts, and delivers again what was not answered. Verbs: docs/channels/simulators.md.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.logger import FileLogObserver, Logger, formatEventAsClassicLogText, globalLogBeginner

from aircharge.protocols.guarded import Guarded
from aircharge.protocols.smpp import PeerInfo, SmppClient, SmppGateway, SmppPeer, SmppServer
from aircharge.simulators.control import ControlFactory, Verb
from aircharge.simulators.handset import Handsets, Received
from aircharge.simulators.sim_card import CardBook, SimCard
from aircharge.simulators.sms_delivery import Postman, Redelivery, command_of, reference_tlv
from aircharge.steady import steady
from aircharge.values import address_digits
from aircharge.wire.gsm import Element, encode_text
from aircharge.wire.gsm_udh import COMMAND_PACKET
from aircharge.wire.smpp.message import MobileMessage
from aircharge.wire.smpp.tlv import Tlv

__all__ = ["SmsCentre", "main"]

SERVICE: Final = "0353911"
_CARD_CODING: Final = 0xF6  # class 2, 8 bit: what a SIM's SMS bears


class SmsCentre:
    """Everything behind the control line. ``token`` gives random bytes, ``now_ms`` the centre's own time."""

    log = Logger()

    def __init__(
        self,
        clock: Any,
        now_ms: Callable[[], int],
        state: Path,
        *,
        mo_pdu: str = "deliver_sm",
        sent_time_tlv: int = 0,
        redelivery: Redelivery | None = None,
        chance: Callable[[], float] = lambda: 1.0,
        token: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._now_ms = now_ms
        self._sent_time_tlv = sent_time_tlv
        self._token = token
        self._mt_refusals: list[int] = []
        self.gateway = SmppGateway(clock, now_ms, self.answer)
        self.handsets = Handsets(clock)
        self.cards = CardBook(state / "cards.json")
        self.postman = Postman(clock, self.gateway, command_of(mo_pdu), chance, redelivery)

    async def answer(self, message: MobileMessage, peer: PeerInfo) -> int:
        """A message for a handset, from whoever is bound."""
        if self._mt_refusals:
            return self._mt_refusals.pop(0)
        binary = message.data.hex() if message.text is None else ""
        received = Received(message.source, message.text or "", self._now_ms(), binary)
        self.handsets.received(address_digits(message.destination), received)
        return 0

    def verbs(self) -> dict[str, Verb]:
        return {
            "handset.add": self._handset_add,
            "sms": self._sms,
            "stk": self._stk,
            "replay": self._replay,
            "resend": self._resend,
            "inbox": self._inbox,
            "drop_responses": self._drop_responses,
            "refuse": self._refuse,
            "faults": self._faults,
            "status": self._status,
        }

    # Verbs

    async def _handset_add(self, request: dict[str, Any]) -> dict[str, Any]:
        self.cards.add(SimCard.from_file({**request, "msisdn": request["number"]}))
        return {"cards": len(self.cards)}

    async def _sms(self, request: dict[str, Any]) -> dict[str, Any]:
        data_coding, data = encode_text(str(request["text"]))
        to = str(request.get("to", SERVICE))
        delivery = self.postman.write(str(request["from"]), to, data, data_coding, tlvs=self._tlvs(request))
        return await self._sent(delivery, request)

    async def _stk(self, request: dict[str, Any]) -> dict[str, Any]:
        card = self.cards.card(str(request["from"]))
        serial = int.from_bytes(self._token(8), "big")
        message = card.compose(request, serial, self._now_ms() // 1000)
        packet = bytearray(card.seal(message))
        self.cards.keep(card)
        if request.get("bad_mac"):
            packet[-1] ^= 1
        if request.get("tamper"):
            packet[len(packet) // 2] ^= 0x40
        delivery = self.postman.write(
            card.msisdn,
            str(request.get("to", SERVICE)),
            bytes(packet),
            _CARD_CODING,
            elements=(Element(COMMAND_PACKET, b""),),
            tlvs=self._tlvs(request),
        )
        return {"serial": message.serial, "counter": card.counter, **await self._sent(delivery, request)}

    async def _sent(self, delivery: Any, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("skip_response"):
            delivery.ignored = len(delivery.pdus)
        return await self.postman.send(delivery, float(request.get("wait_s", 5.0)))

    async def _replay(self, request: dict[str, Any]) -> dict[str, Any]:
        """An attacker sends the recorded last message as a new one: same octets, later sent-time."""
        last = self.postman.last(str(request["from"]))
        copy = self.postman.write(last.sender, SERVICE, b"", 0)
        tlvs = self._tlvs(request)
        copy.pdus = [(fields, (*tlvs, *_without(more, self._sent_time_tlv))) for fields, more in last.pdus]
        return await self._sent(copy, request)

    async def _resend(self, request: dict[str, Any]) -> dict[str, Any]:
        """The centre delivers the same message again."""
        last = self.postman.last(str(request["from"]))
        return await self.postman.again(last, float(request.get("wait_s", 5.0)))

    async def _inbox(self, request: dict[str, Any]) -> dict[str, Any]:
        number = str(request["number"])
        await self.handsets.wait(number, int(request.get("count", 1)), float(request.get("wait_s", 0.0)))
        return self.handsets.shown(number, int(request.get("since", 0)), int(request.get("limit", 200)))

    async def _drop_responses(self, request: dict[str, Any]) -> dict[str, Any]:
        self.postman.responses_to_drop = int(request.get("n", 1))
        return {"n": self.postman.responses_to_drop}

    async def _refuse(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer the next messages to handsets with a status, 0x58 unless told other."""
        self._mt_refusals = [int(request.get("status", 0x58))] * int(request.get("n", 1))
        return {"n": len(self._mt_refusals)}

    async def _faults(self, request: dict[str, Any]) -> dict[str, Any]:
        self.postman.faults = self.postman.faults.changed(request)
        return {
            "faults": {
                name: getattr(self.postman.faults, name) for name in type(self.postman.faults).__slots__
            }
        }

    async def _status(self, request: dict[str, Any]) -> dict[str, Any]:
        postman = self.postman
        return {
            "bound": bool(self.gateway.bound_peers()),
            "cards": len(self.cards),
            "open": postman.open,
            "delivered": postman.delivered,
            "redelivered": postman.redelivered,
            "refused": postman.refused,
            "received": self.handsets.total,
        }

    def _tlvs(self, request: dict[str, Any]) -> tuple[Tlv, ...]:
        """Sent-time by the centre's clock (``sent_s``, ``age_s``; ``timeless``: none); a reference if one is given."""
        tlvs: list[Tlv] = []
        if self._sent_time_tlv and not request.get("timeless"):
            sent_s = int(request.get("sent_s", self._now_ms() // 1000 - int(request.get("age_s", 0))))
            tlvs.append((self._sent_time_tlv, sent_s.to_bytes(4, "big")))
        if "reference" in request:
            tlvs.append(reference_tlv(int(request["reference"])))
        return tuple(tlvs)


def _without(tlvs: tuple[Tlv, ...], tag: int) -> tuple[Tlv, ...]:
    return tuple(one for one in tlvs if one[0] != tag)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="aircharge.simulators.sms_centre", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--connect", default="", help="endpoint that we dial and bind to")
    where.add_argument("--listen", default="", help="endpoint where the other side binds to us")
    parser.add_argument("--system-id", default="smsc")
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--control", required=True, help="endpoint of the control line, loopback only")
    parser.add_argument("--state", type=Path, required=True, help="folder for the cards' counters")
    parser.add_argument("--cards", type=Path, help="personalisation file of the SIM cards")
    parser.add_argument("--sent-time-tlv", type=lambda text: int(text, 0), default=0)
    parser.add_argument("--mo-pdu", choices=["deliver_sm", "submit_sm"], default="deliver_sm")
    parser.add_argument("--window-max", type=int, default=500)
    parser.add_argument("--response-s", type=float, default=10.0, help="no answer within: deliver again")
    parser.add_argument("--redeliver-s", type=float, default=2.0, help="wait before delivering again")
    parser.add_argument("--tries-max", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1, help="of the faults' probabilities")
    return parser.parse_args(argv)


def _peer(options: argparse.Namespace) -> SmppPeer:
    return SmppPeer(
        name="daemon",
        system_id=options.system_id,
        role="esme" if options.connect else "mc",
        mo_pdu=("submit_sm", "deliver_sm", "data_sm"),
        mt_pdu=options.mo_pdu,
        window_max=options.window_max,
        window_in_max=5000,
        queue_max=20_000,
        response_s=options.response_s,
    )


async def _open(
    reactor: Any, options: argparse.Namespace, centre: SmsCentre, chance: Callable[[], float]
) -> None:
    """Open the control line and the line to the daemon."""
    await serverFromString(reactor, options.control).listen(
        Guarded(ControlFactory(centre.verbs()), "control", reactor, life_s=0.0)
    )
    password = options.password_file.read_text(encoding="latin-1").strip()
    peer = _peer(options)
    if options.listen:
        server = SmppServer(centre.gateway, [peer], {peer.name: password})
        await serverFromString(reactor, options.listen).listen(server)
        return
    endpoint = clientFromString(reactor, options.connect)
    client = SmppClient(centre.gateway, peer, password, endpoint, chance, delay_first_s=0.2, delay_max_s=2.0)
    client.startService()
    reactor.addSystemEventTrigger("before", "shutdown", client.stopService)
    reactor.addSystemEventTrigger("before", "shutdown", centre.gateway.unbind_all)


def main(argv: list[str] | None = None) -> None:
    """Run until SIGTERM or SIGINT."""
    from twisted.internet import reactor as installed

    reactor: Any = steady(installed)
    options = _arguments(argv)
    observer: Any = FileLogObserver(sys.stderr, formatEventAsClassicLogText)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    options.state.mkdir(parents=True, exist_ok=True)
    chance = random.Random(options.seed).random  # noqa: S311  decides faults, not secrets
    centre = SmsCentre(
        reactor,
        lambda: time.time_ns() // 1_000_000,
        options.state,
        mo_pdu=options.mo_pdu,
        sent_time_tlv=options.sent_time_tlv,
        redelivery=Redelivery(options.redeliver_s, options.tries_max),
        chance=chance,
    )
    if options.cards:
        centre.cards.load(options.cards)
    opening = Deferred.fromCoroutine(_open(reactor, options, centre, chance))
    opening.addErrback(_failed, reactor)
    reactor.run()


def _failed(failure: Any, reactor: Any) -> None:
    sys.stderr.write(f"cannot start: {failure.getErrorMessage()}\n")
    reactor.stop()


if __name__ == "__main__":
    main()
