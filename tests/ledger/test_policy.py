"""What an order needs of the agent's rules is found by key, and is what a walk over all of them finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aircharge.ledger.policy import LimitRule, Policy, Price, TransferRule

_names = st.sampled_from(["", "A", "B"])
_limits = st.builds(
    LimitRule,
    id=st.integers(1, 99),
    subject=st.integers(1, 5),
    value=_names,
    group=_names,
    operation=st.integers(1, 3),
    period=st.integers(0, 3),
    count_max=st.none(),
    value_min_fen=st.none(),
    value_max_fen=st.just(100),
)
_prices = st.builds(
    Price,
    id=st.integers(1, 99),
    operator_id=st.integers(0, 2),
    group=_names,
    min_fen=st.just(1),
    max_fen=st.none(),
    mode=st.just(1),
    rate_ppm=st.just(1),
    fixed_fen=st.just(0),
    from_date=st.just(1),
    until_date=st.none(),
)
_transfers = st.builds(
    TransferRule,
    id=st.integers(1, 99),
    from_code=_names,
    from_group=_names,
    to_code=_names,
    to_group=_names,
    min_fen=st.just(1),
    max_fen=st.integers(1, 9),
)


@given(
    st.lists(_limits, unique_by=lambda one: one.id),
    st.integers(1, 3),
    st.dictionaries(st.integers(1, 5), st.sampled_from("AB")),
    _names,
)
def test_limits_are_those_that_a_walk_finds(
    limits: list[LimitRule], operation: int, values: dict[int, str], group: str
) -> None:
    limits.sort(key=lambda one: one.id)
    walked = [
        one
        for one in limits
        if one.operation == operation
        and one.subject in values
        and one.value in ("", values[one.subject])
        and one.group in ("", group)
    ]
    assert Policy(limits=tuple(limits)).limits_on(operation, values.items(), group) == walked


@given(st.lists(_prices, unique_by=lambda one: one.id), st.integers(0, 2), _names)
def test_prices_are_those_that_a_walk_finds(prices: list[Price], operator_id: int, group: str) -> None:
    walked = [one for one in prices if one.operator_id in (0, operator_id) and one.group in ("", group)]
    found = Policy(prices=tuple(prices)).prices_for(operator_id, group)
    assert sorted(found, key=lambda one: one.id) == sorted(walked, key=lambda one: one.id)


@given(st.lists(_transfers, unique_by=lambda one: one.id), _names, _names)
def test_transfer_rules_are_those_that_a_walk_finds(
    rules: list[TransferRule], from_group: str, to_group: str
) -> None:
    def means(code: str, of_group: str, outlet: str, group: str) -> bool:
        return code == outlet if code else bool(of_group) and of_group == group

    rules.sort(key=lambda one: one.id)
    walked = [
        one
        for one in rules
        if means(one.from_code, one.from_group, "A", from_group)
        and means(one.to_code, one.to_group, "B", to_group)
    ]
    assert Policy(transfers=tuple(rules)).transfers_between("A", from_group, "B", to_group) == walked
