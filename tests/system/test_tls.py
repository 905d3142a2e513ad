"""The SMS centre over TLS: an ``ssl:`` place of the daemon, a foreign client, one whole recharge."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aircharge.config import load
from aircharge.instance import Instance, Shop, free_port, free_ports
from aircharge.office import Office
from tests.peers import need
from tests.peers.smpp_process import ROOT
from tests.system.audit import audit

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]

OUTLET = "13900000001"
PLACE = """
[[smpp.place]]
endpoint = "ssl:{port}:interface=127.0.0.1:privateKey=keys/tls.pem:certKey=tls-certificate.pem"
peers = ["gateway"]

[[smpp.peer]]
password_file = "keys/gateway-password"
[smpp.peer.profile]
name = "gateway"
system_id = "gateway"
mt_pdu = "deliver_sm"
"""


def make_certificate(folder: Path) -> Path:
    """A key and a certificate signed by itself, for one day; returns the certificate."""
    certificate = folder / "tls-certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        str(folder / "keys" / "tls.pem"),
    ]
    subprocess.run([*command, "-out", str(certificate)], check=True, capture_output=True, timeout=100)
    return certificate


def test_a_recharge_over_tls(tmp_path: Path) -> None:
    need("openssl")
    pytest.importorskip("smpplib")
    port = free_port()
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "gateway-password").touch(0o600)
    (keys / "gateway-password").write_text("secret\n")
    certificate = make_certificate(tmp_path)
    with Instance(tmp_path, free_ports(), extra=PLACE.format(port=port)) as instance:
        instance.create([Shop("A1", OUTLET, "89860000000000000001")])
        instance.start_operator()
        instance.start_daemon()
        wanted = ["13812345678 50", "13812345678", str(certificate)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.peers.smpplib_sender", str(port), "gateway", OUTLET, *wanted],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        customer, outlet = sorted(done.stdout.splitlines())
        assert customer.startswith("13812345678 ")
        assert outlet.startswith(f"{OUTLET} 成功")
        assert "10000.00-50.00=9950.00" in outlet
        office = Office(load(instance.config_file))
        [order] = [order for order in office.orders_of("A1") if order["msisdn"]]
        office.close()
        [row] = instance.operator("record", msisdn="13812345678")["rows"]
        assert (order["state"], order["op_ref"]) == ("SETTLED", row["op_ref"])
        instance.stop()
        assert audit(instance.ledger_file, instance.operator_file).problems == []
