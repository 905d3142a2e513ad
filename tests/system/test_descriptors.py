"""More connections than this process may open files: SMS centre and operator are served, terminals share the rest."""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from aircharge.instance import DEMO_PIN, Instance, Shop, free_port, free_ports

pytestmark = pytest.mark.timeout(300)
SHOP = Shop("A1", "13900000001", "89860000000000000001")
PLACE = """
[[pos.place]]
name = "ip"
endpoint = "tcp:{port}:interface=127.0.0.1"
"""
LIMITED = "import os,resource,sys; n=int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_NOFILE,(n,n));"
LIMITED += "os.execv(sys.argv[2],sys.argv[2:])"


def limited(limit: int) -> list[str]:
    """The command that starts the daemon with so many descriptors, hard."""
    twistd = [str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile", "daemon.pid"]
    twistd += ["--logger", "aircharge.observe.logs.standard_output", "aircharge"]
    return [sys.executable, "-c", LIMITED, str(limit), *twistd]


class House:
    def __init__(self, folder: Path) -> None:
        self.instance = Instance(folder, free_ports())
        self.instance.create([SHOP])
        self.port = free_port()
        with open(self.instance.config_file, "a") as file:
            file.write(PLACE.format(port=self.port))
        self.idle: list[socket.socket] = []

    def dial(self, count: int) -> None:
        """So many terminals connect and say nothing."""
        for _ in range(count):
            idle = socket.socket()
            idle.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                idle.connect(("127.0.0.1", self.port))
            self.idle.append(idle)
            time.sleep(0.002)

    def standing(self) -> int:
        """How many of them were not hung up."""
        with selectors.DefaultSelector() as ready:
            for idle in self.idle:
                ready.register(idle, selectors.EVENT_READ)
            return len(self.idle) - len(ready.select(timeout=0.5))

    def log(self) -> str:
        return self.instance.daemon_log.read_text(errors="replace")

    def page(self, name: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.instance.ports.metrics}/{name}") as answer:
            return str(answer.read().decode())

    def recharge(self, target: str) -> None:
        asked = {"operation": "recharge", "target": target, "amount_fen": 5000, "pin": DEMO_PIN}
        self.instance.centre("stk", **{"from": SHOP.phone}, **asked)
        self.instance.wait_until(
            "the order at the operator",
            lambda: bool(self.instance.operator("record", msisdn=target)["rows"]),
        )


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    made = House(tmp_path)
    yield made
    for idle in made.idle:
        idle.close()
    made.instance.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_idle_terminals_keep_neither_sms_centre_nor_operator_out(house: House) -> None:
    house.instance.start_operator()
    house.instance.start_daemon(limited(1024))
    assert "terminals at ip are held to" in house.log()
    house.dial(1100)
    house.instance.start_centre()  # binds when 1,100 idle connections are there already
    house.recharge("13812345678")
    assert "aircharge_descriptors" in house.page("metrics")
    assert "file descriptors" not in house.page("status")
    assert house.standing() < 400
    assert "EMFILE" not in house.log()


def test_a_start_with_too_few_descriptors_is_refused(house: House) -> None:
    done = subprocess.run(
        [*limited(200), "--config", str(house.instance.config_file)],
        cwd=house.instance.folder, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "this process may open 200 files (RLIMIT_NOFILE), and the doors need" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_process_without_a_descriptor_left_says_so_and_goes_on(house: House) -> None:
    """Somebody lowers the limit while it runs, as a leak of ours or of a library would."""
    instance = house.instance
    instance.start()
    pid = instance.pid("daemon")
    taken = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (taken, hard))
    house.dial(50)
    instance.wait_until("the log to say it", lambda: "EMFILE" in house.log())
    instance.wait_until("the alarm", lambda: "ALARM: " in house.log(), timeout_s=30)
    house.recharge("13812345678")  # who is connected is served
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert "file descriptors" not in house.page("ready")
    house.dial(1)
    time.sleep(0.5)
    house.idle = house.idle[-1:]
    assert house.standing() == 1
