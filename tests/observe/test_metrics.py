"""Metrics count right, and Prometheus can read them; the health page says what the daemon says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.testing import StringTransport

from aircharge.observe.health import health_site
from aircharge.observe.metrics import Histogram, Registry


def test_exposition() -> None:
    registry = Registry()
    registry.counter("orders_total", "Orders by state.", state="SETTLED").add()
    registry.counter("orders_total", "Orders by state.", state="SETTLED").add(2)
    registry.counter("orders_total", "Orders by state.", state='a"b').add()
    registry.gauge("in_flight", "Now.").set(3)
    registry.gauge("lag_s", "Read.", lambda: 0.5)
    waits = registry.histogram("wait_s", "Waiting.", bounds=(0.1, 1))
    for value in (0.1, 0.5, 7):
        waits.observe(value)
    assert registry.exposition() == (
        "# HELP aircharge_in_flight Now.\n# TYPE aircharge_in_flight gauge\naircharge_in_flight 3\n"
        "# HELP aircharge_lag_s Read.\n# TYPE aircharge_lag_s gauge\naircharge_lag_s 0.5\n"
        "# HELP aircharge_orders_total Orders by state.\n# TYPE aircharge_orders_total counter\n"
        'aircharge_orders_total{state="SETTLED"} 3\naircharge_orders_total{state="a\\"b"} 1\n'
        "# HELP aircharge_wait_s Waiting.\n# TYPE aircharge_wait_s histogram\n"
        'aircharge_wait_s_bucket{le="0.1"} 1\naircharge_wait_s_bucket{le="1"} 2\n'
        'aircharge_wait_s_bucket{le="+Inf"} 3\naircharge_wait_s_sum 7.6\naircharge_wait_s_count 3\n'
    )


def test_a_name_has_one_kind() -> None:
    registry = Registry()
    registry.counter("x", "X.")
    with pytest.raises(ValueError, match="counter already"):
        registry.gauge("x", "X.", a="1")


def test_quantile() -> None:
    waits = Histogram((1, 2, 3))
    assert waits.quantile(0.5) == 0.0
    for value in (0.5, 1.5, 1.6, 9):
        waits.observe(value)
    assert [waits.quantile(share) for share in (0.25, 0.5, 0.75, 1)] == [1, 2, 2, float("inf")]
    with pytest.raises(ValueError, match="rising"):
        Histogram((2, 1))


def get(path: str, reasons: list[str]) -> tuple[int, str]:
    site = health_site(Registry(), lambda: reasons, lambda: {"links": {"cmcc": "bound"}})
    connection: Any = site.buildProtocol(None)
    transport = StringTransport()
    connection.makeConnection(transport)
    connection.dataReceived(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    head, _, body = transport.value().decode().partition("\r\n\r\n")
    return int(head.split()[1]), body


def test_health_pages() -> None:
    assert get("/live", []) == (200, "live\n")
    assert get("/ready", []) == (200, "ready\n")
    assert get("/ready", ["operator cmcc: no link"]) == (503, "operator cmcc: no link\n")
    code, body = get("/status", [])
    assert (code, json.loads(body)) == (200, {"links": {"cmcc": "bound"}})
    assert get("/metrics", [])[0] == 200
    assert get("/etc/passwd", [])[0] == 404
