"""A small page for machines, on loopback: /live /ready /status /metrics (plain HTTP/1.1, GET only).

The daemon says what "ready" means; this page only asks it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from aircharge.observe.metrics import Registry

__all__ = ["health_site"]

Ready = Callable[[], list[str]]
"""Why the daemon is not ready, one short sentence each; nothing = ready."""

Status = Callable[[], dict[str, Any]]
"""The state of links, queues and doubts, as JSON can hold it."""


class _Page(Resource):
    isLeaf = True  # noqa: N815 (Twisted's name)

    def __init__(self, content_type: bytes, answer: Callable[[], tuple[int, str]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._content_type = content_type
        self._answer = answer

    def render_GET(self, request: Request) -> bytes:
        code, text = self._answer()
        request.setResponseCode(code)
        request.setHeader(b"content-type", self._content_type)
        return text.encode()


def health_site(registry: Registry, ready: Ready, status: Status) -> Site:
    """A twisted.web site to listen with; bind it to loopback, it asks nobody who they are."""

    def is_ready() -> tuple[int, str]:
        reasons = ready()
        return (503, "\n".join(reasons) + "\n") if reasons else (200, "ready\n")

    pages: dict[bytes, _Page] = {
        b"live": _Page(b"text/plain; charset=utf-8", lambda: (200, "live\n")),
        b"ready": _Page(b"text/plain; charset=utf-8", is_ready),
        b"status": _Page(
            b"application/json", lambda: (200, json.dumps(status(), ensure_ascii=False, default=str) + "\n")
        ),
        b"metrics": _Page(b"text/plain; version=0.0.4", lambda: (200, registry.exposition())),
    }
    root = Resource()
    for name, page in pages.items():
        root.putChild(name, cast(IResource, page))
    site = Site(root, timeout=10)
    site.noisy = False
    return site
