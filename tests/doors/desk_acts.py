"""What people at the desk do, as command lines beside the running daemon; where it takes two, two do it."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta

from aircharge.ledger.chart import TERMINAL_ACTIVE
from tests.doors.street import Street, act
from tests.system.audit import rows

EXACT = re.compile(r"恰好([0-9.]+)元")
LIMIT = re.compile(r"limit (\d+)")


@act(4)
def desk_funds(street: Street, rng: random.Random) -> None:
    """A bank slip; now and then one that has been entered before."""
    outlet, yuan = street.outlet(rng), rng.choice(("100", "500.50", "20", "0.03"))
    slip = street.slip() if rng.random() < 0.8 or not street.slips else f"slip-{rng.randint(1, street.slips)}"
    street.house.type("fund", "ask", outlet.code, yuan, "--slip", slip, "--maker", "anna")
    if rng.random() < 0.8:
        street.house.approve(rng.choice(("bert", "bert", "bert", "anna")))


@act(3)
def desk_moves_money(street: Street, rng: random.Random) -> None:
    """Adjustments, withdrawals, transfers, credit lines, deposits."""
    house, outlet, other = street.house, street.outlet(rng), street.outlet(rng)
    reference, maker = f"letter-{street.slip()}", ("--maker", "anna")
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d")
    match rng.randrange(4):
        case 0:
            what = rng.choice(("adjust-up", "adjust-down", "withdrawal"))
            house.type(
                "money", "ask", what, "1.11", "--reference", reference, "--outlet", outlet.code,
                "--reason", "slip of the pen", *maker,
            )  # fmt: skip
        case 1:
            house.type("money", "transfer", outlet.code, other.code, "3", "--reference", reference, *maker)
        case 2:
            house.type("money", "credit", outlet.code, rng.choice(("0", "50")), "--until", tomorrow, *maker)
        case _:
            house.type("money", "ticket", outlet.code, "300", "--reference", reference, *maker)
    if rng.random() < 0.8:
        house.approve()


@act(3)
def desk_brings_a_bank_file(street: Street, rng: random.Random) -> None:
    """What outlets were asked to pay, and what nobody was; the file may come again, its references too."""
    house = street.house
    for outlet in street.outlets:
        for text in house.centre.inbox[outlet.phone]:
            if (found := EXACT.search(text)) and found[1] not in street.exact_sums:
                street.exact_sums.append(found[1])
    paid = [*rng.sample(street.exact_sums, min(len(street.exact_sums), 2)), "77.70"]
    now = (datetime.now(UTC) + timedelta(hours=8)).strftime("%Y-%m-%d %H:%M:%S")
    lines = [f"{street.slip()},{yuan},{now}" for yuan in paid]
    if rng.random() < 0.3 and street.slips > 3:
        lines.append(f"slip-{rng.randint(1, street.slips - 3)},77.70,{now}")
    file = house.instance.folder / f"bank-{street.slips}.csv"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    _, said = house.type("money", "bank-ask", str(file), "--maker", "anna")
    if found := re.search(r"request (\d+)", said):
        for _ in range(rng.choice((1, 1, 2))):
            house.type("money", "bank-book", found[1], str(file), "--checker", "bert")


@act(3)
def desk_freezes(street: Street, rng: random.Random) -> None:
    """One outlet for a while; the second time it is lifted."""
    outlet = street.outlet(rng)
    lift = ("--lift",) if outlet.is_frozen else ()
    street.house.type("outlet", "freeze", outlet.code, "--actor", "anna", *lift)
    outlet.is_frozen = not outlet.is_frozen
    street.house.approve()


@act(2)
def desk_and_phones(street: Street, rng: random.Random) -> None:
    """Another number for an outlet, one taken away, the last one, a lost one."""
    outlet = street.outlet(rng)
    number = rng.choice((f"1391000000{outlet.code[1]}", f"1391000000{outlet.code[1]}", outlet.phone))
    words = rng.choice(((), (), ("--rights", "query"), ("--unbind",)))
    if number == outlet.phone and words:
        words = ("--unbind",)  # refused: it is the last that may order
    street.house.type("outlet", "phone", outlet.code, number, *words, "--actor", "anna")


@act(4)
def desk_and_terminals(street: Street, rng: random.Random) -> None:
    """Blocked, lifted by two, moved to another outlet."""
    till = rng.choice(list(street.tills.values()))
    if till.is_busy:
        return
    house, actor = street.house, ("--actor", "anna")
    if till.is_blocked:
        house.type("outlet", "terminal", till.outlet, till.code, "--lift", *actor)
        house.approve()
        till.is_blocked = False
    elif rng.random() < 0.5:
        code, _ = house.type("outlet", "terminal", till.outlet, till.code, "--block", *actor)
        till.is_blocked = code == 0
    else:
        other = street.outlet(rng)
        house.type("outlet", "terminal", other.code, till.code, "--move", *actor)
        house.approve()
        stands = (
            "SELECT o.code, t.status FROM terminal t JOIN outlet o ON o.id = t.outlet_id WHERE t.code = ?"
        )
        [(till.outlet, status)] = rows(house.ledger, stands, till.code)
        till.is_blocked = status != TERMINAL_ACTIVE


@act(3)
def desk_and_limits(street: Street, rng: random.Random) -> None:
    house = street.house
    if street.limits and rng.random() < 0.5:
        house.type("limit", "off", str(street.limits.pop()), "--actor", "anna")
        house.approve()
        return
    outlet = street.outlet(rng)
    much = rng.choice((("--count", "5"), ("--most", "300"), ("--count", "40")))
    operation = rng.choice(("recharge", "reversal", "transfer"))
    words = ("limit", "add", "outlet", operation, "day", *much, "--only", outlet.code, "--actor", "anna")
    _, said = house.type(*words)
    street.limits += [int(found[1]) for found in LIMIT.finditer(said)]


@act(3)
def desk_unlocks(street: Street, rng: random.Random) -> None:
    outlet = street.outlet(rng)
    street.house.type("outlet", "pin", outlet.code, "--unlock", "--actor", "anna")
    street.house.approve()


@act(2)
def desk_takes_back(street: Street, rng: random.Random) -> None:
    """A reversal or a transfer's undoing by the desk, of any order at all."""
    outlet = street.outlet(rng)
    references = street.references(outlet)
    if not references:
        return
    reference = rng.choice(references)
    street.asked_back.add(("desk", reference))
    street.house.type("reversal", "open", reference, "--actor", "anna")


@act(3)
def desk_rules(street: Street, rng: random.Random) -> None:
    """Doubts that are with people: two decide by the operator's record."""
    street.counts["doubts decided by two people"] += street.house.resolve()


@act(6)
def desk_looks(street: Street, rng: random.Random) -> None:
    outlet = street.outlet(rng)
    reference = rng.choice(street.references(outlet) or ["12345678"])
    today = datetime.now(UTC).strftime("%Y%m%d")
    street.house.type(
        *rng.choice(
            (
                ("order", "show", reference),
                ("outlet", "show", outlet.code),
                ("outlet", "list"),
                ("money", "list"),
                ("request", "list"),
                ("day", "list"),
                ("statement", outlet.code, today),
                ("limit", "list"),
                ("terminal", "list"),
                ("reversal", "list"),
                ("parked", "list"),
                ("verify",),
            )
        )
    )
