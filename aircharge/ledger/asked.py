"""Requests that wait for a second person, as every rule meets them. Pure."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from aircharge.ledger.page import Page
from aircharge.ledger.rows import RequestRow

__all__ = ["LIFE_MS", "waiting_request"]

LIFE_MS: Final = 7 * 86_400_000
"""A request nobody has decided by then has ended."""


def waiting_request(page: Page, request_id: int, checker: str, kinds: Container[str]) -> RequestRow | str:
    """The request this checker may decide now, or why not: no such one waits, it has ended, one person alone."""
    request = page.rows.requests.get(request_id)
    if request is None or request.state or request.what not in kinds:
        return f"no request {request_id} waits to be confirmed"
    if page.now_ms - request.made_ms > LIFE_MS:
        return f"request {request_id} is older than seven days and has ended: ask again"
    if not checker.strip() or checker == request.maker:
        return "maker and checker are two people"
    return request
