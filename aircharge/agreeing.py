"""What keys of the configuration say of each other: each relation once, as (key, what is wrong and what is allowed)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from aircharge.allowed import DIALS, LISTENS, shown

if TYPE_CHECKING:
    from aircharge.config import CodesSection, Config, OperatorSection
    from aircharge.protocols.smpp import SmppPeer

__all__ = ["disagreements"]

Wrong = tuple[str, str]

_INTERNATIONAL, _NATIONAL = 1, 2  # TON
_NEVER_FINAL: Final = ("5001", "9001")
"""Our operators' protocol (docs/protocols/operator-link.md): unknown, and accepted but not yet executed."""


def disagreements(config: Config) -> list[Wrong]:
    """Every relation that does not hold."""
    return [*_house(config), *_smpp(config), *_operators(config), *_addresses(config)]


def _house(config: Config) -> Iterator[Wrong]:
    daemon, sms, notices, secrets = config.daemon, config.sms, config.notices, config.secrets
    if daemon.node == daemon.desk_node:
        yield "daemon.node", f"{daemon.node}: node and desk_node must differ, each 0..1023"
    if sms.recharge_number == sms.query_number:
        yield "sms.recharge_number", f"{shown(sms.recharge_number)}: must differ from sms.query_number"
    if notices.retry_max_s < notices.retry_first_s:
        yield (
            "notices.retry_max_s",
            f"{notices.retry_max_s}: must be at least retry_first_s, {notices.retry_first_s}",
        )
    for version in secrets.kek_old:
        if int(version) >= secrets.kek_version:
            yield f"secrets.kek_old.{version}", "an older KEK has a version from 1 to below kek_version"
    known = {"0", *(str(section.id) for section in config.operator)}
    for operator in config.ledger.book.cut_at:
        if config.operator and operator not in known:
            yield (
                f"ledger.book.cut_at.{operator}",
                f"no operator has this id; known: {', '.join(sorted(known))}",
            )


def _numbers(where: str, profile: SmppPeer) -> Iterator[Wrong]:
    """SMPP 3.4 section 5.2.5: international numbers bear their country's code, national ones do not."""
    if profile.destination_ton == _INTERNATIONAL and not profile.country_code:
        yield f"{where}.destination_ton", '1: international, so country_code must be set ("86"); else 0 or 2'
    if profile.destination_ton == _NATIONAL and profile.country_code:
        yield f"{where}.destination_ton", '2: national, so country_code must be ""; else 0 or 1'


def _twice(values: Iterable[str]) -> set[str]:
    return {value for value, times in Counter(values).items() if times > 1}


def _smpp(config: Config) -> Iterator[Wrong]:
    profiles = {section.profile.name: section.profile for section in config.smpp.peer}
    twice = _twice(section.profile.name for section in config.smpp.peer)
    for index, section in enumerate(config.smpp.peer):
        where = f"smpp.peer[{index}].profile"
        if section.profile.name in twice:
            yield (
                f"{where}.name",
                f"{shown(section.profile.name)}: two peers bear it; each has a name of its own",
            )
        if not section.profile.system_id:
            yield f"{where}.system_id", "'': a blank name would bind; allowed: 1 to 15 ASCII characters"
        yield from _numbers(where, section.profile)
    for index, place in enumerate(config.smpp.place):
        where = f"smpp.place[{index}]"
        limit = LISTENS if place.direction == "listen" else DIALS
        if problem := limit.problem(place.endpoint):
            yield f"{where}.endpoint", problem
        for name in place.peers:
            if name not in profiles:
                yield f"{where}.peers", f"no [[smpp.peer]] is named {name!r}; known: {', '.join(profiles)}"
        listed = [profiles[name] for name in place.peers if name in profiles]
        for system_id in _twice(one.system_id for one in listed if one.role == "mc" and one.system_id):
            yield (
                f"{where}.peers",
                f"two peers here bind as {shown(system_id)}: each has a system_id of its own",
            )


def _operators(config: Config) -> Iterator[Wrong]:
    ids = _twice(str(section.id) for section in config.operator)
    names = _twice(section.link.name for section in config.operator)
    segments = _twice(segment for section in config.operator for segment in section.segments)
    for index, section in enumerate(config.operator):
        where = f"operator[{index}]"
        if str(section.id) in ids:
            yield f"{where}.id", f"{section.id}: two operators bear it; each must have its own, 1..99"
        if section.link.name in names:
            yield f"{where}.link.name", f"{shown(section.link.name)}: two operators bear it; each has its own"
        for segment in segments.intersection(section.segments):
            yield f"{where}.segments", f"{shown(segment)}: two operators serve it; a segment has one operator"
        yield from ((f"{where}.{key}", why) for key, why in _one_operator(section))


def _one_operator(section: OperatorSection) -> Iterator[Wrong]:
    products, doubt, link = section.products, section.doubt, section.link
    if not products.fixed_fen and products.max_fen < products.min_fen:
        yield "products.max_fen", f"{products.max_fen}: must be at least min_fen, {products.min_fen}"
    if doubt.max_s < doubt.first_s:
        yield "doubt.max_s", f"{doubt.max_s}: must be at least first_s, {doubt.first_s}"
    if doubt.manual_after_s < doubt.finality_s:
        yield (
            "doubt.manual_after_s",
            f"{doubt.manual_after_s}: must be at least finality_s, {doubt.finality_s}",
        )
    if link.reconnect_max_s < link.reconnect_min_s:
        yield (
            "link.reconnect_max_s",
            f"{link.reconnect_max_s}: must be at least reconnect_min_s, {link.reconnect_min_s}",
        )
    yield from ((f"codes.{key}", why) for key, why in _codes(section.codes))


def _codes(codes: CodesSection) -> Iterator[Wrong]:
    for code in codes.yes:
        if code in _NEVER_FINAL:
            yield "yes", f"{shown(code)}: not executed yet, or unknown: it is no yes (nor any other answer)"
    meanings = {
        "yes": codes.yes,
        "no": codes.no,
        "not_found": codes.not_found,
        "reverse_no": codes.reverse_no,
    }
    for name, others in (("no", ("yes", "not_found")), ("not_found", ("yes",)), ("reverse_no", ("yes",))):
        for code in meanings[name]:
            if name != "not_found" and code in _NEVER_FINAL:
                yield name, f"{shown(code)}: not executed yet, or unknown: it is no no"
            for other in others:
                if code in meanings[other]:
                    yield name, f"{shown(code)}: stands in {other} too; a code has one meaning"
    yield from _parts(codes, meanings)


def _parts(codes: CodesSection, meanings: Mapping[str, Container[str]]) -> Iterator[Wrong]:
    """Codes of a list that belong to another list as well, or to none."""
    for name, whole in (
        ("busy", "no"),
        ("no_original", "reverse_no"),
        ("reversed_before", "reverse_no"),
        ("stands", "reverse_no"),
    ):
        for code in getattr(codes, name):
            if code not in meanings[whole]:
                yield name, f"{shown(code)}: must be one of {whole}: {', '.join(getattr(codes, whole))}"
    for code in codes.pending:
        for other in (name for name, listed in meanings.items() if code in listed):
            yield "pending", f"{shown(code)}: stands in {other} too; a code has one meaning"
    for code in _twice((*codes.no_original, *codes.reversed_before, *codes.stands)):
        yield "stands", f"{shown(code)}: no_original, reversed_before and stands exclude each other"


def _addresses(config: Config) -> Iterator[Wrong]:
    """No two of our doors on one address and port."""
    doors = [("daemon.metrics_listen", config.daemon.metrics_listen)]
    for index, place in enumerate(config.smpp.place):
        if place.direction == "listen":
            doors.append((f"smpp.place[{index}].endpoint", place.endpoint))
    for index, section in enumerate(config.operator):
        doors += [(f"operator[{index}].link.listen", text) for text in section.link.listen]
    doors += [
        (f"pos.place[{index}].endpoint", place.endpoint) for index, place in enumerate(config.pos.place)
    ]
    taken: dict[str, str] = {}
    for key, text in doors:
        port, address = re.search(r":(?:port=)?([0-9]+)", text), re.search(r"interface=([^:]+)", text)
        if not text or port is None or address is None:
            continue
        at = f"{address[1]} port {port[1]}"
        if at in taken:
            yield key, f"{shown(text)}: {taken[at]} listens there already"
        taken.setdefault(at, key)
