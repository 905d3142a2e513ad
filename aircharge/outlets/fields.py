"""What is known of an outlet, field by field: its name in both tongues, what may stand there, how it is shown.

One table for the command line, for files and for the audit. A value that must not be seen by everybody (identity
numbers, bank accounts) is ``secret``: its last four characters are shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any, Final

from aircharge.ledger.chart import PIN_ABOVE, PIN_ALWAYS, PIN_NEVER
from aircharge.outlets.desk import RegistryError
from aircharge.outlets.lifecycle import STATUSES
from aircharge.outlets.tree import LEVELS
from aircharge.values import AMOUNT_MAX_FEN, mask_msisdn, yuan_text

__all__ = [
    "BY_NAME",
    "FIELDS",
    "NEVER_EMPTY",
    "Field",
    "Weight",
    "check_contract",
    "defaults",
    "read_code",
    "weighed",
]

_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,15}")
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")
_DATE: Final = re.compile(r"([0-9]{4})[-/.]?([0-9]{1,2})[-/.]?([0-9]{1,2})")
_COMPACT: Final = re.compile(r"[0-9]{8}")
_YUAN: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,2}))?")
_TELEPHONE: Final = re.compile(r"\+?[0-9][0-9 ()-]{2,18}")
_ACCOUNT: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z -]{3,38}")
_IDENTITY: Final = re.compile(r"[0-9]{17}[0-9X]")
_OTHER_PAPER: Final = re.compile(r"[A-Z][A-Z0-9]{4,17}|[0-9]{15}")
_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS: Final = "10X98765432"
_REGION: Final = re.compile(r"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[12])[0-9]{4}")
"""GB/T 2260: the first two digits are a province's."""


class Weight(Enum):
    """What it takes to change a field."""

    PLAIN = "one person"
    MONEY = (
        "profile.money"  # what the outlet earns, where it is paid and who that is: finance or risk confirms
    )
    GUARD = "profile.guard"  # what protects its float, whom the desk calls back: a manager or risk confirms
    OWN = "a command of its own"


@dataclass(frozen=True, slots=True)
class Field:
    """A column of ``outlet`` or ``outlet_profile``. ``read`` raises RegistryError; ``show`` is read back alike.

    ``weight``: what its change takes, the same by whatever way it comes (``weighed``). ``looser``: of a GUARD field,
    whether a change weakens what protects the float; a change that does not takes one person.
    """

    name: str
    zh: str
    column: str
    read: Callable[[str], Any]
    show: Callable[[Any], str] = str
    profile: bool = True
    secret: bool = False
    weight: Weight = Weight.PLAIN
    looser: Callable[[Any, Any], bool] = lambda before, after: True

    def seen(self, value: Any) -> str:
        """What an audit row or a list may show of it."""
        text = self.show(value)
        if self.name == "contact_phone":
            return mask_msisdn(text)
        return "****" + text[-4:] if self.secret and text else text


def read_code(text: str) -> str:
    """An outlet's code. Raises RegistryError."""
    if not _CODE.fullmatch(text):
        raise RegistryError(f"outlet code {text!r}: 1 to 16 letters, digits, - and _")
    return text


def _words(size: int) -> Callable[[str], str]:
    """Any text without control characters."""

    def read(text: str) -> str:
        if len(text) > size:
            raise RegistryError(f"{len(text)} characters; at most {size}")
        if any(unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn") for character in text):
            raise RegistryError("a control character or one that does not exist")
        return text

    return read


def _word(size: int, *, needed: bool = False) -> Callable[[str], str]:
    """A short name of letters and digits."""

    def read(text: str) -> str:
        if len(text) > size or (text and not _WORD.fullmatch(text)) or (needed and not text):
            raise RegistryError(f"{text[:40]!r}: at most {size} letters, digits, - _ . and @")
        return text

    return read


def _choice(words: Mapping[int, tuple[str, str]]) -> Callable[[str], int]:
    """One of some words, in either tongue."""

    def read(text: str) -> int:
        for value, names in words.items():
            if text in names or text == str(value):
                return value
        raise RegistryError(f"{text[:40]!r}: {', '.join(names[0] for names in words.values())}")

    return read


def _region(text: str) -> str:
    """GB/T 2260: six digits, province, prefecture, county."""
    if text and not _REGION.fullmatch(text):
        raise RegistryError(f"region {text[:40]!r}: six digits of GB/T 2260")
    return text


def _identity(text: str) -> str:
    """An identity number with its check digit (GB 11643, MOD 11-2), or another paper's number."""
    text = text.upper()
    if _IDENTITY.fullmatch(text):
        total = sum(int(digit) * weight for digit, weight in zip(text[:17], _WEIGHTS, strict=True))
        if _CHECKS[total % 11] != text[17] or not _is_day(text[6:14]):
            raise RegistryError("the identity number's check digit or date of birth is wrong")
    elif text and not _OTHER_PAPER.fullmatch(text):
        raise RegistryError("that is no identity number")
    return text


def _telephone(text: str) -> str:
    if text and not _TELEPHONE.fullmatch(text):
        raise RegistryError("that is no telephone number")
    return text


def _account(text: str) -> str:
    if text and not _ACCOUNT.fullmatch(text):
        raise RegistryError("a bank account has 4 to 39 digits, letters, blanks and hyphens")
    return text


def _day(text: str) -> int:
    """2026-11-23, 2026/11/23 or 20261123 as yyyymmdd; "" is 0, unknown."""
    if not text:
        return 0
    found = _DATE.fullmatch(text)
    if found is None or (text.isdigit() and not _COMPACT.fullmatch(text)):
        raise RegistryError(f"date {text[:40]!r}: 2026-11-23")
    day = f"{found[1]}{int(found[2]):02d}{int(found[3]):02d}"
    if not _is_day(day):
        raise RegistryError(f"there is no day {text[:40]}")
    return int(day)


def _is_day(text: str) -> bool:
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return int(text[:4]) >= 1900


def _show_day(value: int) -> str:
    return f"{value // 10000:04d}-{value // 100 % 100:02d}-{value % 100:02d}" if value else ""


def _yuan(text: str) -> int:
    """Yuan with at most two decimals as fen; "" is nothing."""
    found = _YUAN.fullmatch(text or "0")
    if found is None or int(found[1]) * 100 > AMOUNT_MAX_FEN:
        raise RegistryError(f"{text[:40]!r} is no amount in yuan")
    return int(found[1]) * 100 + int((found[2] or "").ljust(2, "0"))


def _language(text: str) -> str:
    if text not in ("zh", "en"):
        raise RegistryError(f"language {text[:40]!r}: zh or en")
    return text


_POLICY_WORDS: Final = {
    PIN_NEVER: ("never", "不需要"),
    PIN_ABOVE: ("above", "超额"),
    PIN_ALWAYS: ("always", "总是"),
}


def _first(words: Mapping[int, tuple[str, str]]) -> Callable[[int], str]:
    return lambda value: words[value][0]


def _is_less(before: int, after: int) -> bool:
    return after < before


def _is_more(before: int, after: int) -> bool:
    return after > before


FIELDS: Final = (
    Field("name", "网点名称", "name", _words(64), profile=False),
    Field("level", "级别", "level", _choice(LEVELS), _first(LEVELS), profile=False, weight=Weight.OWN),
    Field("status", "状态", "status", _choice(STATUSES), _first(STATUSES), profile=False, weight=Weight.OWN),
    Field("language", "语言", "language", _language, profile=False),
    Field("group", "价格组", "group_code", _word(16, needed=True), profile=False, weight=Weight.MONEY),
    Field("manager", "客户经理", "manager", _word(32), profile=False, weight=Weight.GUARD),
    Field(
        "pin_policy",
        "密码要求",
        "pin_policy",
        _choice(_POLICY_WORDS),
        _first(_POLICY_WORDS),
        profile=False,
        weight=Weight.GUARD,
        looser=_is_less,  # never, above, always
    ),
    Field(
        "pin_above",
        "免密上限",
        "pin_above_fen",
        _yuan,
        yuan_text,
        profile=False,
        weight=Weight.GUARD,
        looser=_is_more,
    ),
    Field(
        "residual",
        "最低留存",
        "residual_fen",
        _yuan,
        yuan_text,
        profile=False,
        weight=Weight.GUARD,
        looser=_is_less,
    ),
    Field("address", "地址", "address", _words(200)),
    Field("region", "县区代码", "region", _region),
    Field("legal_person", "法人", "legal_person", _words(64), weight=Weight.MONEY),
    Field("legal_id", "法人证件号", "legal_id", _identity, secret=True, weight=Weight.MONEY),
    Field("contact", "联系人", "contact", _words(64), weight=Weight.GUARD),
    Field("contact_phone", "联系电话", "contact_phone", _telephone, weight=Weight.GUARD),
    Field("type", "网点类型", "type", _words(16)),
    Field("contract_no", "合同号", "contract_no", _words(32)),
    Field("contract_from", "合同开始", "contract_from", _day, _show_day),
    Field("contract_until", "合同结束", "contract_until", _day, _show_day),
    Field("deposit_due", "保证金", "deposit_due_fen", _yuan, yuan_text, weight=Weight.MONEY),
    Field("bank", "开户行", "bank", _words(64), weight=Weight.MONEY),
    Field("bank_account", "银行账号", "bank_account", _account, secret=True, weight=Weight.MONEY),
    Field("bank_account_name", "账户名", "bank_account_name", _words(64), weight=Weight.MONEY),
    Field("credit_grade", "信用等级", "credit_grade", _word(8), weight=Weight.MONEY),
)
"""Every field but the code, the parent, phones and terminals, which are rows or references of their own."""

BY_NAME: Final = {field.name: field for field in FIELDS}


def defaults() -> dict[str, Any]:
    """A new outlet of which nothing is said, by field name."""
    return dict(_DEFAULTS)


_USUAL: Final = {
    "level": "outlet",
    "status": "active",
    "language": "zh",
    "group": "standard",
    "pin_policy": "always",  # what is on a float is spent by nobody who has but a phone
}
NEVER_EMPTY: Final = frozenset(_USUAL)
"""An empty cell of these says nothing: a new outlet has the usual, one that is there keeps its own."""
_DEFAULTS: Final = {field.name: field.read(_USUAL.get(field.name, "")) for field in FIELDS}


_ITS_OWN: Final = frozenset(
    ("manager", "legal_person", "legal_id", "contact", "contact_phone", "deposit_due", "bank")
) | {"bank_account", "bank_account_name"}
"""Who a new outlet is and where it is paid: said by whoever adds it. Nothing of anybody's is changed by it."""


def weighed(
    before: Mapping[str, Any], after: Mapping[str, Any], *, is_new: bool = False
) -> dict[Weight, list[str]]:
    """The fields that differ, by what their change takes. ``is_new``: ``before`` are a new outlet's defaults."""
    found: dict[Weight, list[str]] = {weight: [] for weight in Weight}
    for name in after:
        field, old, new = BY_NAME[name], before[name], after[name]
        if old == new:
            continue
        is_plain = is_new and (name in _ITS_OWN or field.weight is Weight.OWN)
        if is_plain or (field.weight is Weight.GUARD and not field.looser(old, new)):
            found[Weight.PLAIN].append(name)
        else:
            found[field.weight].append(name)
    return found


def check_contract(values: Mapping[str, Any]) -> None:
    """Raises RegistryError when a contract ends before it begins."""
    begun, ended = values["contract_from"], values["contract_until"]
    if begun and ended and ended < begun:
        raise RegistryError("the contract ends before it begins")
