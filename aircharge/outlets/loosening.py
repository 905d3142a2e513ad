"""What loosens a control, or changes what outlets earn, as requests that a second person confirms.

Rows of ``requests.KINDS``: each takes a desk and a payload (JSON) and says what has become of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from aircharge.errors import AirchargeError
from aircharge.outlets.limitbook import (
    TransferForm,
    add_transfer_rule_txn,
    switch_limit_txn,
    switch_transfer_rule_txn,
)
from aircharge.outlets.lists import ListForm, list_txn, unlist_txn
from aircharge.outlets.phones import change_rights_txn, rights_of
from aircharge.outlets.profile import change_profile_txn
from aircharge.outlets.registry import Desk
from aircharge.outlets.tariff import PriceForm, add_price_txn, end_price_txn
from aircharge.values import mask_msisdn

__all__ = ["LOOSENING"]

Payload = Mapping[str, Any]


class FormError(AirchargeError):
    """The request names something that its form does not have."""


def _form(kind: Callable[..., Any], payload: Payload) -> Any:
    try:
        return kind(**payload)
    except TypeError as error:
        raise FormError(str(error)) from error


def _limit_off(desk: Desk, payload: Payload, _tools: object) -> str:
    switch_limit_txn(desk, payload["limit"], on=False)
    return f"limit {payload['limit']} is off"


def _list(desk: Desk, payload: Payload, _tools: object) -> str:
    list_txn(desk, _form(ListForm, payload))
    return f"that {payload['subject']} is on the {payload['colour']} list"


def _unlist(desk: Desk, payload: Payload, _tools: object) -> str:
    unlist_txn(desk, payload["subject"], payload["value"])
    return f"that {payload['subject']} is on no list"


def _add_transfer_rule(desk: Desk, payload: Payload, _tools: object) -> str:
    return f"transfer rule {add_transfer_rule_txn(desk, _form(TransferForm, payload))} is in force"


def _transfer_rule_on(desk: Desk, payload: Payload, _tools: object) -> str:
    switch_transfer_rule_txn(desk, payload["rule"], on=True)
    return f"transfer rule {payload['rule']} is on"


def _add_price(desk: Desk, payload: Payload, _tools: object) -> str:
    return f"price {add_price_txn(desk, _form(PriceForm, payload))} added"


def _end_price(desk: Desk, payload: Payload, _tools: object) -> str:
    end_price_txn(desk, payload["price"], payload["until_date"])
    return f"price {payload['price']} ends on {payload['until_date']}"


def _change_profile(desk: Desk, payload: Payload, _tools: object) -> str:
    changed = change_profile_txn(desk, payload["outlet"], payload["fields"], confirmed=True)
    said = "; ".join(f"{name}: {old or '-'} → {new or '-'}" for name, (old, new) in changed.items())
    return f"outlet {payload['outlet']}: {said}"


def _change_rights(desk: Desk, payload: Payload, _tools: object) -> str:
    change_rights_txn(desk, payload["outlet"], payload["phone"], rights_of(payload["rights"]))
    return f"{mask_msisdn(payload['phone'])} may {payload['rights']}"


LOOSENING: Final[dict[str, Callable[[Desk, Payload, Any], str]]] = {
    "limit.off": _limit_off,  # limit
    "list.white": _list,  # a ListForm
    "list.remove": _unlist,  # subject, value
    "transfer-rule.add": _add_transfer_rule,  # a TransferForm
    "transfer-rule.on": _transfer_rule_on,  # rule
    "price.add": _add_price,  # a PriceForm
    "price.end": _end_price,  # price, until_date
    "profile.money": _change_profile,  # outlet, fields: {name: as people write it}
    "profile.guard": _change_profile,  # outlet, fields
    "phone.rights": _change_rights,  # outlet, phone, rights
}
"""What each does once it is confirmed, and what its payload names."""
