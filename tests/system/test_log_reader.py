"""The daemon, and a reader of its log that stops reading."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from aircharge.instance import DEMO_PIN, Instance, Shop, free_ports

pytestmark = pytest.mark.timeout(300)
SHOP = Shop("A1", "13900000001", "89860000000000000001")
ORDERS = 40
TWISTD = str(Path(sys.executable).with_name("twistd"))
# Standard output is a pipe that holds 4,096 octets, and nobody reads it.
UNREAD = (
    "import fcntl,os,sys; r,w=os.pipe(); fcntl.fcntl(w,fcntl.F_SETPIPE_SZ,4096); os.set_inheritable(r,True);"
)
UNREAD += "os.dup2(w,1); os.dup2(w,2); os.execv(sys.argv[1],sys.argv[1:])"
OUTS = {
    "ours": ["--logger", "aircharge.observe.logs.standard_output"],
    "twistd's": ["--logfile", "-"],
}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    made = Instance(tmp_path, free_ports())
    made.create([SHOP])
    yield made
    made.stop()


@pytest.mark.parametrize("out", OUTS)
def test_orders_go_on_when_nobody_reads_the_log(instance: Instance, out: str) -> None:
    instance.start_operator()
    twistd = [TWISTD, "--nodaemon", "--pidfile", "daemon.pid", *OUTS[out], "aircharge"]
    instance.start_daemon([sys.executable, "-c", UNREAD, *twistd])
    instance.start_centre()
    for number in range(ORDERS):
        asked = {
            "operation": "recharge",
            "target": f"138123456{number:02}",
            "amount_fen": 5000,
            "pin": DEMO_PIN,
        }
        instance.centre("stk", **{"from": SHOP.phone}, **asked)
    last = f"138123456{ORDERS - 1:02}"
    instance.wait_until("the last order", lambda: bool(instance.operator("record", msisdn=last)["rows"]))
    with urllib.request.urlopen(f"http://127.0.0.1:{instance.ports.metrics}/ready", timeout=5) as answer:
        assert answer.status == 200
    began = time.monotonic()
    assert instance.stop_one("daemon") == -signal.SIGTERM  # twistd's way to end in order
    assert time.monotonic() - began < 15


def test_syslog_is_refused(instance: Instance) -> None:
    command = [TWISTD, "--nodaemon", "--syslog", "aircharge", "--config", str(instance.config_file)]
    done = subprocess.run(
        command, cwd=instance.folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 1
    assert "--syslog: orders would wait" in done.stdout + done.stderr
