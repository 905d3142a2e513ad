"""A small SMPP server of ours for foreign clients to bind to; one JSON line a happening on standard output.

A message whose text begins with "echo " is answered with the rest of it, from the number it was sent to.
Arguments: port, then optionally "tls" with a PEM file, or "dial" with the port of a server that we bind to.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import clientFromString, serverFromString

from aircharge.protocols.gate import GateSettings
from aircharge.protocols.smpp import PeerInfo, SmppClient, SmppGateway, SmppPeer, SmppServer
from aircharge.wire.smpp.message import MobileMessage

reactor: Any = _reactor


def tell(what: str, **facts: Any) -> None:
    print(json.dumps({"what": what, **facts}), flush=True)


def main() -> None:
    port, *more = sys.argv[1:]
    gateway = SmppGateway(reactor, lambda: int(time.time() * 1000), lambda m, p: answer(gateway, m, p))
    if more[:1] == ["dial"]:
        peer = SmppPeer(name="centre", system_id="esme", role="esme", mt_pdu="submit_sm")
        place = clientFromString(reactor, f"tcp:127.0.0.1:{more[1]}")
        SmppClient(gateway, peer, "secret", place, lambda: 0.5).startService()
        until_bound(gateway)
    peer = SmppPeer(
        name="kannel", system_id="kannel", mo_pdu=("submit_sm", "deliver_sm"), mt_pdu="deliver_sm"
    )
    gate = GateSettings(connections_per_ip_max=4000)
    server = SmppServer(gateway, [peer], {"kannel": "secret"}, gate)
    place = f"ssl:{port}:interface=127.0.0.1:privateKey={more[1]}" if more[:1] == ["tls"] else ""
    endpoint = serverFromString(reactor, place or f"tcp:{port}:interface=127.0.0.1:backlog=4096")
    endpoint.listen(server).addCallback(lambda listening: tell("ready", port=listening.getHost().port))
    reactor.callLater(300, reactor.stop)
    reactor.run()


def until_bound(gateway: SmppGateway) -> None:
    """We dialled: once bound, send one text and tell what became of it."""
    if not gateway.ready():
        reactor.callLater(0.05, until_bound, gateway)
        return
    sent = gateway.send_text("0353911", "13812345678", "充值成功 50")
    sent.addCallbacks(
        lambda ids: tell("sent", ids=ids), lambda failure: tell("failed", why=str(failure.value))
    )


async def answer(gateway: SmppGateway, message: MobileMessage, peer: PeerInfo) -> int:
    tell("message", peer=peer.name, text=message.text, data=message.data.hex(), source=message.source)
    if message.text and message.text.startswith("echo "):
        reply = gateway.send_text(message.destination, message.source, message.text[5:], peer=peer.name)
        reply.addCallbacks(
            lambda ids: tell("sent", ids=ids), lambda failure: tell("failed", why=str(failure))
        )
    return 0


if __name__ == "__main__":
    main()
