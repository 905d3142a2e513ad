"""Whole recharges through SMS software that is not ours: Kannel, smpplib and smpp34 before the real daemon.

Each binds to the daemon under twistd as a gateway does (ESME): the outlet's SMS is its submit_sm, our SMS come back to
it as deliver_sm. The operator is the simulator with its own record.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from aircharge.config import load
from aircharge.instance import Instance, Shop, free_port, free_ports
from aircharge.office import Office
from tests.peers import need
from tests.peers.smpp_process import ROOT, running, until_listening
from tests.peers.test_kannel_bind import CONFIGURATION, Web, drain, send_over_kannel, web
from tests.system.audit import audit

pytestmark = [pytest.mark.peer, pytest.mark.slow]

OUTLET = "13900000001"
GATEWAY = """
[[smpp.place]]
endpoint = "tcp:{port}:interface=127.0.0.1"
peers = ["gateway"]

[[smpp.peer]]
password_file = "keys/gateway-password"
[smpp.peer.profile]
name = "gateway"
system_id = "kannel"
mt_pdu = "deliver_sm"
"""


@contextmanager
def world(folder: Path) -> Iterator[tuple[Instance, int]]:
    """Operator and daemon, and the port where a gateway called kannel may bind with the password "secret"."""
    port = free_port()
    with Instance(folder, free_ports(), extra=GATEWAY.format(port=port)) as instance:
        password = folder / "keys" / "gateway-password"
        password.parent.mkdir(parents=True)
        password.touch(0o600)
        password.write_text("secret\n")
        instance.create([Shop("A1", OUTLET, "89860000000000000001")])
        instance.start_operator()
        instance.start_daemon()
        _wait_for(port)
        yield instance, port


def _wait_for(port: int, timeout_s: float = 60.0) -> None:
    """The daemon may be slow to open its doors on a busy machine."""
    ends = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.1)
        else:
            return


def settled(instance: Instance, target: str, timeout_s: float = 60.0) -> dict[str, object]:
    """The operator's row for that number, once our order is settled too."""
    office = Office(load(instance.config_file))
    ends = time.monotonic() + timeout_s
    try:
        while time.monotonic() < ends:
            mine = [order for order in office.orders_of("A1") if order["msisdn"] == target]
            if mine and mine[0]["state"] == "SETTLED":
                [row] = instance.operator("record", msisdn=target)["rows"]
                assert row["op_ref"] == mine[0]["op_ref"]
                assert (row["amount_fen"], row["credits"]) == (mine[0]["amount"], 1)
                return dict(row)
            time.sleep(0.1)
    finally:
        office.close()
    raise AssertionError(f"no settled order for {target}")


class RawWeb(Web):
    """Kannel hands UCS-2 on as it came (%b), with its coding (%c: 2 = UCS-2)."""

    def read(self, query: str) -> dict[str, str]:
        one = {key: values[0] for key, values in urllib.parse.parse_qs(query, encoding="latin-1").items()}
        raw = one["text"].encode("latin-1")
        one["text"] = raw.decode("utf-16-be" if one["coding"] == "2" else "latin-1")
        return one


def until(is_so: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    ends = time.monotonic() + timeout_s
    while not is_so() and time.monotonic() < ends:
        time.sleep(0.1)
    return is_so()


@pytest.mark.timeout(300)
def test_a_recharge_over_kannel_is_settled_and_its_answers_reach_kannel(tmp_path: Path) -> None:
    need("bearerbox", "smsbox")
    with ExitStack() as stack:
        instance, port = stack.enter_context(world(tmp_path / "world"))
        web_port, seen = stack.enter_context(web(RawWeb))
        ports = {"admin": free_port(), "box": free_port(), "send": free_port()}
        conf = tmp_path / "kannel.conf"
        text = CONFIGURATION.format(smpp=port, web=web_port, **ports)
        conf.write_text(text.replace("text=%a", "text=%b&coding=%c"))
        drain(stack.enter_context(running("bearerbox", "-v", "2", str(conf))))
        until_listening(ports["box"])  # smsbox gives up when bearerbox does not listen yet
        drain(stack.enter_context(running("smsbox", "-v", "2", str(conf))))
        send_over_kannel(ports["send"], "13812345678 50", "0353911", source=OUTLET)
        settled(instance, "13812345678")
        send_over_kannel(ports["send"], "00", "0353910", source=OUTLET)

        def told(number: str, *words: str) -> bool:
            return any(
                one["to"].endswith(number) and all(word in one["text"] for word in words) for one in seen
            )

        assert until(lambda: told(OUTLET, "成功", "13812345678", "10000.00-50.00=9950.00")), seen
        assert until(lambda: told("13812345678", "138****5678", "50.00")), seen
        assert until(lambda: told(OUTLET, "余额9950.00")), seen
        instance.stop()
        assert audit(instance.ledger_file, instance.operator_file).problems == []


SMPP34 = """
import asyncio, os, sys
import smpp34

async def main():
    line = smpp34.Client("127.0.0.1", int(sys.argv[1]), "kannel", "secret", window_size=8)
    centre = await line.connect()
    await centre.submit_sm("0353911", sys.argv[3].encode(), source_addr=sys.argv[2])
    got, outlet, customer = {}, sys.argv[2], sys.argv[4]
    while len(got) < 2:  # others are passed over: float that came in, a repetition
        event = await centre.next()
        number, said = event.destination_addr, event.short_message.decode("utf-16-be")
        if number == customer or (number == outlet and "成功" in said):
            got[number] = said
    for number, said in got.items():
        print(number, said)
    await centre.unbind()

asyncio.run(asyncio.wait_for(main(), 100))
sys.stdout.flush()
os._exit(0)  # its threads sometimes abort in the interpreter's own ending, when all is done
"""


CLIENTS = [
    ("13512345678", ("-m", "tests.peers.smpplib_sender", "{port}", "kannel", OUTLET, "{text}", "{target}")),
    ("13612345678", ("-c", SMPP34, "{port}", OUTLET, "{text}", "{target}")),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("target", "command"), CLIENTS, ids=["smpplib", "smpp34"])
def test_a_recharge_over_another_projects_client(
    tmp_path: Path, target: str, command: tuple[str, ...]
) -> None:
    with world(tmp_path / "world") as (instance, port):
        facts = {"{port}": str(port), "{text}": f"{target} 30", "{target}": target}
        done = subprocess.run(
            [sys.executable, *(facts.get(word, word) for word in command)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        settled(instance, target)
        lines = sorted(done.stdout.splitlines())
        assert len(lines) == 2, done.stdout + done.stderr
        assert lines[0].startswith(f"{target} 您的号码{target[:3]}****{target[-4:]}已充值30.00元")
        assert lines[1].startswith(f"{OUTLET} 成功:{target}充30.00元")
        instance.stop()
        assert audit(instance.ledger_file, instance.operator_file).problems == []
