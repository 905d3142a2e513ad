"""A writer of its own process: the requests of ``test_daemons_one_ledger`` in an order of its own.

``python -m tests.system.ledger_writers URL NODE COUNT KIND``: waits for a line on standard input, works through all
requests and settles every hold that it made itself. Prints one line of JSON.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

from aircharge.errors import LedgerError
from aircharge.ledger.book import Book, BookSettings
from aircharge.ledger.commands import CloseRecharge, Fund, OpenRecharge
from aircharge.ledger.funding import propose_txn
from aircharge.ledger.store import Store, open_engine
from aircharge.ledger.transferring import Transfer
from aircharge.machine import SystemClock
from aircharge.outlets import registry
from aircharge.outlets.registry import Desk, OutletForm
from aircharge.values import Asker, Channel, Key, Msisdn, Order, Pin, Receipt, State, Verdict
from tests.ledger.desk import PIN, PINS

OUTLETS = 50
AMOUNT_FEN = 100
BATCH = 64


def open_store(url: str, node: int) -> Store:
    return Store(open_engine(url), Book(BookSettings(), PINS.mac), SystemClock(), node)


def phone_of(outlet: int) -> str:
    return f"139000000{outlet:02d}"


def prepare(store: Store, float_fen: int) -> None:
    """Fifty outlets with that much each."""
    store.ensure_operators({1: "mobile"})
    for outlet in range(OUTLETS):
        with store.writing() as txn:
            desk = Desk(txn, SystemClock().now_ms(), "clerk")
            form = OutletForm(f"S{outlet}", "", (phone_of(outlet),), "zh", "never")
            registry.add_outlet_txn(desk, form, Pin(PIN), PINS, b"salt" * 4)
            request = propose_txn(
                txn, f"S{outlet}", float_fen, f"slip-{outlet}", maker="maker", now_ms=desk.now_ms
            )
        store.run([Fund(request, "checker")])


def requests(count: int) -> list[OpenRecharge]:
    """The same ``count`` requests for everybody, evenly over the outlets, each for a number of its own."""
    now_ms = SystemClock().now_ms()
    made = []
    for number in range(count):
        phone = phone_of(number % OUTLETS)
        asker = Asker(phone, "0353911", None, None)
        key = Key(f"sms:{phone}", f"m{number}")
        target = Msisdn(f"138{number:08d}")
        made.append(OpenRecharge(Order(Channel.SMS, key, asker, target, AMOUNT_FEN, now_ms), 1))
    return made


def transfers(count: int) -> list[Transfer]:
    """Every outlet to others, so that each pair is met both ways; no amount twice."""
    now_ms = SystemClock().now_ms()
    made = []
    for number in range(count):
        outlet = number % OUTLETS
        other = (outlet + 1 + number // OUTLETS % (OUTLETS - 1)) % OUTLETS
        asker = Asker(phone_of(outlet), "0353911", None, Pin(PIN))
        key = Key(f"sms:{asker.phone}", f"m{number}")
        made.append(Transfer(Channel.SMS, key, asker, f"S{other}", 1 + number, now_ms))
    return made


def work(store: Store, commands: Sequence[Any]) -> Counter[str]:
    """Batches of 64: new requests, and the answers to what this writer has held itself."""
    seen: Counter[str] = Counter()
    answers: list[CloseRecharge] = []
    coming = iter(commands)
    while True:
        batch: list[Any] = [*answers, *islice(coming, BATCH)]
        answers = []
        if not batch:
            return seen
        for command, result in zip(batch, store.run_batch(batch).results, strict=True):
            if isinstance(result, LedgerError):
                seen[f"error {result}"] += 1
            elif not isinstance(command, CloseRecharge):
                assert isinstance(result, Receipt)
                seen["fresh" if result.fresh else "known"] += 1
                if result.fresh and result.state is State.HELD:
                    answers.append(CloseRecharge(result.order_id, Verdict.YES, "0000"))
            else:
                seen["settled"] += 1


def main() -> None:
    url, node, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    store = open_store(url, node)
    mine: list[Any] = [*(transfers if sys.argv[4] == "transfers" else requests)(count)]
    random.Random(node).shuffle(mine)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(work(store, mine)), flush=True)
    store.engine.dispose()


if __name__ == "__main__":
    main()
