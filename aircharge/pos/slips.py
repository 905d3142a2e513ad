"""What a terminal prints or shows (DE 63, GBK): a few lines of at most 20 half-width columns. No PIN, no key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aircharge.values import yuan_text
from aircharge.wire.iso8583.terminal import Act

__all__ = ["DE63_MAX", "REFUSALS", "local_time", "slip"]

DE63_MAX: Final = 163
_STATES: Final = {
    "SETTLED": "成功",
    "REVERSED": "已返销",
    "REFUSED": "未受理",
    "VOIDED": "失败",
    "PARKED": "待审核",
}

REFUSALS: Final[dict[str, str]] = {
    "03": "商户与终端不符",
    "05": "运营商未受理",
    "09": "处理中",
    "12": "交易无效",
    "13": "金额有误",
    "14": "号码有误或不支持",
    "25": "查无原交易",
    "26": "刚办过相同交易,确认请重办",
    "30": "报文格式错",
    "40": "不可重印或返销",
    "51": "余额不足",
    "55": "密码错",
    "57": "不允许此交易",
    "58": "终端已停用",
    "61": "超出限额",
    "62": "主叫号码不符",
    "65": "超出次数",
    "68": "交易超时",
    "75": "密码已锁,请联系客户经理",
    "77": "请重新签到",
    "91": "系统忙,请稍后再试",
    "94": "流水号重复",
    "95": "批次不符或对账不平",
    "96": "系统故障",
    "97": "终端未登记",
    "99": "密码格式错",
    "A0": "校验错,请重新签到",
    "A7": "主密钥不符",
}
"""What a terminal without texts of its own shows for a code."""


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
