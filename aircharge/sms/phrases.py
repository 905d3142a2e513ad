"""Facts of a notice become one SMS in the reader's language. Pure but for reading the templates once.

Wordings are TOML (``sms/templates/zh.toml``, ``en.toml``); a key is a topic, or a topic with the name of a
Reason or State behind it. Facts are plain ints and strings as the ledger writes them into the outbox
(docs/channels/sms.md).
"""

from __future__ import annotations

import hashlib
import hmac
import string
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any, Final

from aircharge.errors import ConfigError, Reason
from aircharge.ledger.commands import NoticeRow
from aircharge.outlets.consent import ConsentCode
from aircharge.values import mask_msisdn, yuan_text

__all__ = [
    "LANGUAGES",
    "CheckCode",
    "Phrases",
    "Preview",
    "Templates",
    "built_in_templates",
    "load_templates",
    "preview",
    "reason_codes",
]

Facts = Mapping[str, Any]

LANGUAGES: Final = ("zh", "en")
_PART_MAX: Final = {"zh": 70, "en": 160}  # characters of one SMS part: UCS-2, GSM 7-bit (3GPP TS 23.040)
_LOCAL_MS: Final = 8 * 3_600_000  # Asia/Shanghai is UTC+8 all year
_LOCK_SHOWN_MS: Final = 86_400_000  # a longer lock has no time to show: it waits for a clerk
_NO_CLOCK_MS: Final = 1 << 42  # a lock "until" later than the year 2109 has none either
_GSM7: Final = frozenset(
    "@$\n !\"#%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
)


class CheckCode:
    """Four characters by which a customer's SMS is known to be ours: keyed, so nobody else can make them."""

    ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # 32 characters, none like another

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError("a check-code key has at least 16 octets")
        self._mac = hmac.new(key, digestmod=hashlib.sha256)
        self.consent = ConsentCode(key)

    def of(self, order_id: int, target: str, amount_fen: int) -> str:
        """20 bits of HMAC-SHA-256 over order, number and amount."""
        mac = self._mac.copy()
        mac.update(f"{order_id}|{target}|{amount_fen}".encode())
        bits = int.from_bytes(mac.digest()[:4], "big")
        return "".join(self.ALPHABET[bits >> shift & 31] for shift in (0, 5, 10, 15))

    def is_ours(self, code: str, order_id: int, target: str, amount_fen: int) -> bool:
        """Whether a code that somebody reads to us belongs to that recharge."""
        ours = self.of(order_id, target, amount_fen)
        return hmac.compare_digest(ours.encode(), code.strip().upper().encode())


# -- facts → words of a placeholder ------------------------------------------------------------------------


def _yuan(key: str) -> Callable[[Facts], str]:
    return lambda facts: yuan_text(facts[key])


def _short_id(key: str) -> Callable[[Facts], str]:
    def show(facts: Facts) -> str:
        if not facts[key]:
            raise KeyError(key)
        return f"{facts[key] % 100_000_000:08d}"

    return show


def _clock(key: str) -> Callable[[Facts], str]:
    def show(facts: Facts) -> str:
        minute = (facts[key] + _LOCAL_MS) // 60_000 % 1440
        return f"{minute // 60:02d}:{minute % 60:02d}"

    return show


def _day_time(facts: Facts) -> str:
    return f"{_local(facts['at_ms']):%m-%d %H:%M}"


def _local(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC) + timedelta(milliseconds=_LOCAL_MS)


def _line(order: Facts, table: Mapping[str, Sequence[_Variant]]) -> str:
    """One order of several in a message: "1123 1005 *5678 50成功"."""
    word = table[f"word.{order['state']}"][0].text
    return f"{_local(order['at_ms']):%m%d %H%M} *{order['target'][-4:]} {_whole_yuan(order)}{word}"


def _first_when(facts: Facts) -> str:
    """The time of the first one, with its day where that is not today."""
    first, now = _local(facts["first_at_ms"]), _local(facts["at_ms"])
    return f"{first:%H:%M}" if first.date() == now.date() else f"{first:%m-%d %H:%M}"


def _until(facts: Facts) -> str:
    until_ms = facts["locked_until_ms"]
    at_ms = facts.get("at_ms", 0)
    if not until_ms or until_ms >= _NO_CLOCK_MS or (at_ms and until_ms - at_ms > _LOCK_SHOWN_MS):
        raise KeyError("locked_until_ms")
    return _clock("locked_until_ms")(facts)


def _whole_yuan(facts: Facts) -> str:
    """An amount as it is typed in a command: "50", "50.50"."""
    amount_fen: int = facts["amount_fen"]
    return yuan_text(amount_fen) if amount_fen % 100 else str(amount_fen // 100)


_SHOW: Final[dict[str, Callable[[Facts], str]]] = {
    "id": _short_id("order_id"),
    "target": lambda facts: str(facts["target"]),
    "masked": lambda facts: mask_msisdn(facts["target"]),
    "amount": _yuan("amount_fen"),
    "yuan": _whole_yuan,
    "cost": _yuan("cost_fen"),
    "before": _yuan("before_fen"),
    "after": _yuan("after_fen"),
    "balance": _yuan("balance_fen"),
    "available": _yuan("available_fen"),
    "held": _yuan("held_fen"),
    "today": _yuan("today_fen"),
    "today_n": lambda facts: str(int(facts["today_n"])),
    "time": _clock("at_ms"),
    "day_time": _day_time,
    "outlet": lambda facts: str(facts["outlet"]),
    "tries": lambda facts: str(int(facts["tries_left"])),
    "until": _until,
    "first_id": _short_id("first_id"),
    "first_time": _clock("first_at_ms"),
    "first_when": _first_when,
    "answer": lambda facts: str(facts["answer"]),
    "because": lambda facts: str(facts["because_word"]),
    "pin": lambda facts: str(facts["pin_word"]),
    "repeat_next": lambda facts: str(int(facts["repeat_next"])),
    "state": lambda facts: str(facts["state_word"]),
    "check": lambda facts: str(facts["check"]),
    "consent": lambda facts: str(facts["consent_code"]),
    "lines": lambda facts: "\n".join(facts["shown_lines"]),
    "day": lambda facts: f"{_local(facts['day_ms']):%m-%d}",
    "day_n": lambda facts: str(int(facts["day_n"])),
    "day_sum": _yuan("day_fen"),
    "reversed_n": lambda facts: str(int(facts["reversed_n"])),
    "reversed": _yuan("reversed_fen"),
    "earned": _yuan("earned_fen"),
    "open_n": lambda facts: str(int(facts["open_n"])),
    "why": lambda facts: str(facts["why_word"]),
    "act": lambda facts: str(facts["act_word"]),
    "thing": lambda facts: str(facts["thing"]),
    "rule": lambda facts: str(int(facts["rule"])),
    "rule_name": lambda facts: str(facts["rule_name"]),
    "subject": lambda facts: str(facts["subject_word"]),
    "period": lambda facts: str(facts["period_word"]),
    "value_max": _yuan("value_max_fen"),
    "used": _yuan("used_fen"),
    "room": _yuan("room_fen"),
    "count_max": lambda facts: str(int(facts["count_max"])),
    "used_n": lambda facts: str(int(facts["used_n"])),
    "resets": lambda facts: f"{_local(facts['resets_ms']):%m-%d}",
    "single_max": _yuan("single_max_fen"),
    "single_min": _yuan("single_min_fen"),
    "barred_until": lambda facts: f"{_local(facts['barred_until_ms']):%m-%d %H:%M}",
    "near": lambda facts: str(facts["near"]),
    "usual": _yuan("usual_fen"),
    "to": lambda facts: str(facts["to"]),
    "from": lambda facts: str(facts["from"]),
    "exact": _yuan("exact_fen"),
    "ticket": _yuan("ticket_fen"),
    "tickets": lambda facts: str(int(facts["tickets_n"])),
    "ends": lambda facts: f"{_local(facts['until_ms']):%m-%d %H:%M}",
    "lines_n": lambda facts: str(int(facts["lines_n"])),
    "refused_n": lambda facts: str(int(facts["refused_n"])),
}
"""Every placeholder and how its facts are shown. A KeyError says that the fact is not known."""

_LONGEST: Final[dict[str, Any]] = {
    "order_id": 10**18 + 12_345_678,
    "target": "13812345678",
    "amount_fen": 500_00,
    "cost_fen": 500_00,
    "before_fen": 99_999_99,
    "after_fen": 99_999_99,
    "balance_fen": 99_999_99,
    "available_fen": 99_999_99,
    "held_fen": 9_999_99,
    "today_n": 9999,
    "today_fen": 999_999_99,
    "at_ms": 1_795_000_000_000,
    "outlet": "A1023",
    "tries_left": 3,
    "locked_until_ms": 1_795_001_800_000,
    "first_id": 10**18 + 87_654_321,
    "first_at_ms": 1_795_000_000_000,
    "repeat_next": 9,
    "answer": "Y",
    "check": "K7Q2",
    "consent_code": "4711",
    "day_ms": 1_795_000_000_000,
    "rule": 9999,
    "rule_name": "no-night-over300",
    "value_max_fen": 99_999_99,
    "used_fen": 99_999_99,
    "room_fen": 9_999_99,
    "count_max": 9999,
    "used_n": 9999,
    "resets_ms": 1_795_000_000_000,
    "single_max_fen": 99_999_99,
    "single_min_fen": 99_999_99,
    "barred_until_ms": 1_795_000_000_000,
    "near": "13812345679",
    "usual_fen": 9_999_99,
    "day_n": 9999,
    "day_fen": 999_999_99,
    "reversed_n": 99,
    "reversed_fen": 9_999_00,
    "earned_fen": 9_999_99,
    "open_n": 99,
    "to": "A1023",
    "from": "A1024",
    "exact_fen": 99_999_99,
    "ticket_fen": 99_999_00,
    "tickets_n": 99,
    "thing": "138****5678",
    "until_ms": 1_795_000_000_000,
    "lines_n": 5000,
    "refused_n": 5000,
}
"""Values as long as daily trade makes them; longer ones fall back to a shorter variant."""


# -- templates ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Variant:
    """One wording: literal pieces with placeholders between them."""

    text: str
    pieces: tuple[str | Callable[[Facts], str], ...]

    def fill(self, facts: Facts) -> str | None:
        """The text, or None when a fact is not known."""
        try:
            return "".join([piece if isinstance(piece, str) else piece(facts) for piece in self.pieces])
        except KeyError:
            return None


Templates = dict[str, dict[str, tuple[_Variant, ...]]]
"""language → key → variants, the fullest first."""


@dataclass(frozen=True, slots=True)
class Preview:
    """How long a wording gets with the longest sample values."""

    language: str
    key: str
    text: str
    length: int
    length_max: int

    @property
    def fits(self) -> bool:
        return self.length <= self.length_max


def built_in_templates() -> Templates:
    """The wordings that come with the package."""
    templates: Templates = {}
    for language in LANGUAGES:
        source = files("aircharge.sms").joinpath("templates", f"{language}.toml")
        document = tomllib.loads(source.read_text(encoding="utf-8"))
        templates[language] = {key: _variants(str(source), key, value) for key, value in document.items()}
    return templates


def load_templates(path: str) -> Templates:
    """The built-in wordings with those of a file in their place: tables [zh] and [en], keys as built in.

    Raises ConfigError for an unknown language, key or placeholder, a sign that GSM 7-bit lacks in an English
    text, or a text that does not fit one SMS with the longest sample values.
    """
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise ConfigError(path, "-", error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, a number too long, nested too deep
        raise ConfigError(path, "-", str(error)) from error
    templates = built_in_templates()
    for language, table in document.items():
        if language not in templates or not isinstance(table, dict):
            raise ConfigError(path, language, f"expected a table of: {', '.join(LANGUAGES)}")
        for key, value in table.items():
            _replace(templates[language], path, language, key, value)
    return templates


def _replace(
    table: dict[str, tuple[_Variant, ...]], path: str, language: str, key: str, value: object
) -> None:
    where = f"{language}.{key}"
    if key not in table:
        raise ConfigError(path, where, "no such wording")
    variants = _variants(path, where, value)
    allowed = {name for variant in table[key] for name in _names(variant.text)} | _COMMON
    for variant in variants:
        for name in _names(variant.text):
            if name not in allowed:
                known = ", ".join(sorted(allowed))
                raise ConfigError(path, where, f"{{{name}}} is not known here; known: {known}")
    if not set(_names(variants[-1].text)) <= set(_names(table[key][-1].text)):
        raise ConfigError(path, where, f"the last variant may only use what {table[key][-1].text!r} uses")
    for shown in _previews(language, key, variants):
        if not shown.fits:
            raise ConfigError(
                path, where, f"{shown.length} characters where {shown.length_max} fit: {shown.text}"
            )
        if language == "en" and not _GSM7.issuperset(shown.text):
            raise ConfigError(path, where, "a sign that GSM 7-bit does not have")
    table[key] = variants


_COMMON: Final = frozenset(("outlet", "time", "day_time"))


def _variants(path: str, where: str, value: object) -> tuple[_Variant, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ConfigError(path, where, "must be a text or a list of texts")
    return tuple(_compile(path, where, text) for text in texts)


def _compile(path: str, where: str, text: str) -> _Variant:
    pieces: list[str | Callable[[Facts], str]] = []
    try:
        for literal, name, spec, conversion in string.Formatter().parse(text):
            if literal:
                pieces.append(literal)
            if name is None:
                continue
            if spec or conversion or name not in _SHOW:
                raise ConfigError(path, where, f"unknown placeholder {{{name}}}")
            pieces.append(_SHOW[name])
    except ValueError as error:
        raise ConfigError(path, where, str(error)) from error
    return _Variant(text, tuple(pieces))


def _names(text: str) -> Iterator[str]:
    return (name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


def preview(templates: Templates) -> list[Preview]:
    """Every wording with the longest sample values."""
    return [
        shown
        for language, table in templates.items()
        for key, variants in table.items()
        for shown in _previews(language, key, variants)
    ]


def _previews(language: str, key: str, variants: tuple[_Variant, ...]) -> Iterator[Preview]:
    word = "not known yet" if language == "en" else "未受理"
    words = {
        "subject_word": "this number",
        "period_word": "this month",
        "why_word": "it is not a recharge that is done",
        "act_word": "unblocked card of number",
        "because_word": "not registered then",
        "pin_word": " PIN",
    }
    if language == "zh":
        words = {"subject_word": "该号码", "period_word": "今日", "why_word": "确认码错误次数过多"}
        words |= {"act_word": "胁迫密码已由柜台设置", "because_word": "运营商查无此号", "pin_word": " 密码"}
    facts = {**_LONGEST, **words, "state_word": word, "shown_lines": [f"1123 1005 *5678 500{word}"] * 3}
    for variant in variants:
        text = variant.fill(facts) or ""
        yield Preview(language, key, text, _length(text), _PART_MAX[language])


def _length(text: str) -> int:
    """UTF-16 code units; of English text the septets, because no sign of the extension table is allowed."""
    return len(text) if text.isascii() else len(text.encode("utf-16-be")) // 2


# -- wording -----------------------------------------------------------------------------------------------

_BY_REASON: Final = frozenset(("outlet.refused", "outlet.help"))


def _asked_again(facts: Facts, table: Mapping[str, Sequence[_Variant]]) -> Facts:
    """Words for how the same is said anew, and why it was refused the first time."""
    pin = table["word.pin"][0].text if facts.get("with_pin") else ""
    because = table.get(f"word.because.{facts.get('because')}", table["word.because.OTHER"])[0].text
    return {"answer": "Y", "pin_word": pin, "because_word": because, **facts}


class Phrases:
    """Words notices. ``check_code`` signs what customers read."""

    def __init__(self, check_code: CheckCode, templates: Templates | None = None) -> None:
        self._check_code = check_code
        self._templates = templates if templates is not None else built_in_templates()

    def word(self, notice: NoticeRow) -> str:
        """The text of one row of the outbox."""
        return self.phrase(notice.topic, notice.facts, notice.language)

    def phrase(self, topic: str, facts: Facts, language: str = "zh") -> str:
        """The text for ``topic``; other languages read zh. Raises LookupError: no such topic."""
        if language not in self._templates:
            language = LANGUAGES[0]
        table = self._templates[language]
        if topic == "customer.settled":
            facts = {**facts, "check": self._check(facts)}
            if facts.get("consent"):
                facts["consent_code"] = self._check_code.consent.of(facts["order_id"])
        elif "state" in facts:
            facts = {**facts, "state_word": table[f"word.{facts['state']}"][0].text}
        elif "lines" in facts:
            facts = {**facts, "shown_lines": [_line(line, table) for line in facts["lines"]]}
        if topic in _BY_REASON:
            facts = _asked_again(facts, table)
        for name in ("subject", "period", "why", "act"):
            if name in facts:
                facts = {**facts, f"{name}_word": table[f"word.{name}.{facts[name]}"][0].text}
        length_max = _PART_MAX[language]
        text = None
        for variant in table[self._key(table, topic, facts)]:
            text = variant.fill(facts) or text
            if text is not None and _length(text) <= length_max:
                return text
        if text is None:
            raise LookupError(f"{topic}: facts are missing, known are {', '.join(sorted(facts))}")
        return text

    def _check(self, facts: Facts) -> str:
        return self._check_code.of(facts["order_id"], facts["target"], facts["amount_fen"])

    @staticmethod
    def _key(table: Mapping[str, object], topic: str, facts: Facts) -> str:
        if topic in _BY_REASON:
            for head, name in (("outlet.again", "became"), (topic, "verb")):
                if name in facts and (key := f"{head}.{facts[name]}") in table:
                    return key
            key = f"{topic}.{facts.get('reason', '')}"
            if facts.get("standing") == "pending" and topic == "outlet.refused":
                return "outlet.not-open"
            if key in table:
                return key
            return topic if topic in table else f"{topic}.{Reason.INTERNAL.name}"
        if topic == "outlet.state":
            return f"{topic}.{facts['state']}"
        if topic in ("outlet.last", "outlet.status") and not facts.get("order_id"):
            return f"{topic}.none"
        if topic == "outlet.history" and not facts.get("lines"):
            return "outlet.last.none"
        return topic


def reason_codes() -> dict[Reason, str]:
    """The code in brackets by which this door tells a reason (docs/channels/sms.md)."""
    return {reason: reason.code for reason in Reason}
