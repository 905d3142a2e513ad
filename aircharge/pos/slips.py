"""What a terminal prints or shows (DE 63, GBK): a few lines of at most 20 half-width columns. No PIN, no key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aircharge.values import yuan_text
from aircharge.wire.iso8583.terminal import Act

__all__ = ["DE63_MAX", "local_time", "slip"]

DE63_MAX: Final = 163
_STATES: Final = {
    "SETTLED": "成功",
    "REVERSED": "已返销",
    "REFUSED": "未受理",
    "VOIDED": "失败",
    "PARKED": "待审核",
}


def local_time(at_ms: int, utc_offset_min: int) -> datetime:
    """A time at the counter."""
    return datetime.fromtimestamp(at_ms / 1000, UTC) + timedelta(minutes=utc_offset_min)


def slip(act: Act, facts: dict[str, Any], utc_offset_min: int) -> str:
    """The lines for an approved act; "" where nothing is printed."""
    if act is Act.BALANCE:
        lines = [
            "余额查询",
            f"余额 {yuan_text(facts['balance_fen'])}元",
            f"可用 {yuan_text(facts['available_fen'])}元",
            f"今日 {facts['today_n']}笔 {yuan_text(facts['today_fen'])}元",
        ]
    elif act is Act.CHECK:
        lines = [str(facts["operator"])]
    elif act in (Act.SALE, Act.VOID, Act.LAST, Act.COPY) and facts.get("order_id"):
        when = local_time(facts["at_ms"], utc_offset_min)
        title = {Act.SALE: "充值成功", Act.VOID: "返销成功", Act.LAST: "末笔交易", Act.COPY: "充值凭证"}[act]
        if act is Act.COPY:
            title += f" 重印{facts['copy']}"
        lines = [
            title,
            f"号码 {facts['target']}",
            f"金额 {yuan_text(facts['amount_fen'])}元",
            f"流水 {facts['order_id'] % 10**12:012d}",
            f"{when:%Y-%m-%d %H:%M:%S}",
        ]
        if act is Act.LAST:
            lines.append(_STATES.get(facts["state"], "处理中"))
    else:
        return ""
    return _cut("\n".join(lines))


def _cut(text: str) -> str:
    """At most as many octets as DE 63 takes; a character is never halved."""
    octets = text.encode("gbk", "replace")[:DE63_MAX]
    return octets.decode("gbk", "ignore")
