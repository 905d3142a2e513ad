"""smpplib as an outlet's way to us: sends one text, reads until two SMS have said what they should, prints them.

Arguments: port, system_id, outlet, text, customer, and the certificate to trust (then the line is TLS). Prints a line
``number text`` for each of the two: the customer's SMS, and the outlet's that says 成功; others are passed over (float
that came in, a repetition). Exit code 1 when they did not come within 100 s.
"""

from __future__ import annotations

import ssl
import sys
import time
from typing import Any

import smpplib.client


def main() -> int:
    port, system_id, outlet, text, customer, *certificate = sys.argv[1:]
    more: dict[str, Any] = {}
    if certificate:
        more["ssl_context"] = ssl.create_default_context(cafile=certificate[0])
        more["ssl_context"].check_hostname = False
    client = smpplib.client.Client("127.0.0.1", int(port), allow_unknown_opt_params=True, **more)
    got: dict[str, str] = {}

    def received(pdu: Any) -> int:
        number, said = pdu.destination_addr.decode(), pdu.short_message.decode("utf-16-be")
        if number == customer or (number == outlet and "成功" in said):
            got[number] = said
        return 0

    client.set_message_received_handler(received)
    client.connect()
    client.bind_transceiver(system_id=system_id, password="secret")
    ton = {"source_addr_ton": 1, "source_addr_npi": 1, "dest_addr_ton": 0, "dest_addr_npi": 1}
    client.send_message(source_addr=outlet, destination_addr="0353911", short_message=text.encode(), **ton)
    end = time.monotonic() + 100
    while len(got) < 2 and time.monotonic() < end:
        client.read_once()
    client.unbind()
    client.disconnect()
    for number, said in sorted(got.items()):
        sys.stdout.write(f"{number} {said}\n")
    return 0 if len(got) == 2 else 1


if __name__ == "__main__":
    sys.exit(main())
