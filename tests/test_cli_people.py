"""The command line in a house with staff: everybody logs in, nobody confirms alone, the table of rights decides."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from aircharge import office, staffroom
from aircharge.cli import main
from aircharge.cli.signed import leaves
from aircharge.config import load
from aircharge.instance import Instance, Ports, Shop
from aircharge.ledger.commands import CloseRecharge, OpenRecharge
from aircharge.ledger.on_behalf import ON_BEHALF
from aircharge.outlets.requests import KINDS
from aircharge.outlets.rights import ACTIONS, FREE, Role
from aircharge.outlets.totp import code_of, step_of
from aircharge.values import Asker, Channel, Key, Msisdn, Order, Verdict
from tests.outlets.staff_desk import OWN, PASSWORDS

MINUTE = 60_000
SHOP = Shop("A1", "13900000001", "89860000000000000001", float_fen=100_000)


class Clock:
    """The office's clock, moved by the test: a code counts once in thirty seconds."""

    ms = 1_795_399_200_000

    def now_ms(self) -> int:
        return Clock.ms

    def monotonic_s(self) -> float:
        return Clock.ms / 1000


def let_time_leap(folder: Path) -> None:
    """The test moves the clock by weeks; the house does not ask whether it is right (``ledger.clocks``)."""
    file = folder / "aircharge.toml"
    words = file.read_text(encoding="utf-8")
    file.write_text(words.replace("[ledger]\n", "[ledger]\nleap_max_h = 0\n", 1), encoding="utf-8")


class House:
    """A folder with staff, and terminals by login."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secrets: dict[str, bytes] = {}

    def run(self, who: str, *words: str, code: int = 0, typed: str = "") -> str:
        """What the command prints at ``who``'s terminal; the exit code must be ``code``."""
        result: Result = CliRunner().invoke(
            main,
            ["-c", str(self.folder / "aircharge.toml"), *words],
            input=typed,
            env={"AIRCHARGE_SESSION": str(self.session(who))},
        )
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result.output

    def session(self, who: str) -> Path:
        return self.folder / f"session-{who}"

    def code(self, who: str) -> str:
        Clock.ms += MINUTE
        return code_of(self.secrets[who], step_of(Clock.ms))

    def log_in(self, who: str, password: str = OWN, code: int = 0) -> str:
        return self.run(who, "login", who, typed=f"{password}\n{self.code(who)}\n", code=code)

    def first_login(self, who: str, initial: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Password of one's own, and an authenticator whose key is known beforehand."""
        self.secrets[who] = who.encode().ljust(20, b"-")
        monkeypatch.setattr(
            import_module("aircharge.cli.staff"), "random_totp", lambda chance: self.secrets[who]
        )
        output = self.run(who, "login", who, typed=f"{initial}\n\n{OWN}\n{OWN}\n{self.code(who)}\n")
        assert "otpauth://totp/" in output
        assert "is logged in" in output


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """wang and li are admins, qian is risk, zhou finance, sun manager of A1, wu clerk of A1; all are logged in."""
    Instance(tmp_path, Ports()).create([SHOP, Shop("B1", "13900000002", "89860000000000000002")])
    let_time_leap(tmp_path)
    monkeypatch.setattr(office, "SystemClock", Clock)
    monkeypatch.setattr(staffroom, "Passwords", lambda: PASSWORDS)
    Clock.ms += 1000 * MINUTE
    made = House(tmp_path)
    made.run("wang", "staff", "init", "wang", "--name", "Wang", typed=f"{OWN}-1\n{OWN}-1\n")
    made.first_login("wang", f"{OWN}-1", monkeypatch)
    people = [
        ("li", "admin", "wang"),
        ("qian", "risk", "li"),
        ("zhou", "finance", "li"),
        ("sun", "manager", "li"),
        ("wu", "clerk", "li"),
        ("zheng", "clerk", "li"),
    ]
    for login, role, checker in people:
        scope = {"sun": ["--scope", "A1"], "wu": ["--scope", "A1"], "zheng": ["--scope", "B1"]}.get(login, [])
        output = made.run("wang", "staff", "add", login, "--name", login.title(), "--role", role, *scope)
        halves = re.findall(r"initial password ([a-z0-9]+)", output)
        if checker != "wang":
            output = made.run(checker, "request", "approve", _number(output))
            halves += re.findall(r"initial password ([a-z0-9]+)", output)
        assert len(halves) == (1 if checker == "wang" else 2), output
        made.first_login(login, "-".join(halves), monkeypatch)
    Clock.ms += 1440 * MINUTE  # who is new confirms nothing for a day
    for login in made.secrets:
        made.log_in(login)
    return made


def _number(output: str) -> str:
    found = re.search(r"request ([0-9]+)", output)
    assert found, output
    return found[1]


# -- the table and the commands -----------------------------------------------------------------------------


def test_every_command_and_every_request_is_in_the_table_of_rights() -> None:
    commands = leaves(main)
    assert sorted(set(commands) - set(ACTIONS) - FREE) == []
    assert sorted(set(KINDS) - set(ACTIONS)) == []
    requests = {*KINDS, *ON_BEHALF, "ruling", "release", "undo-transfer", "entry", "credit", "batch", "bank"}
    assert sorted(set(ACTIONS) - set(commands) - requests) == []


def test_every_argument_a_right_looks_at_is_there() -> None:
    for action, command in leaves(main).items():
        within = ACTIONS[action].within if action in ACTIONS else "-"
        if within not in ("-", "inside", "payload", "house"):
            assert within in {item.name for item in command.params}, f"{action}: no {within}"


def test_the_auditor_gives_no_command_that_bears_a_name() -> None:
    for action, command in leaves(main).items():
        if action in ACTIONS and Role.AUDITOR in ACTIONS[action].by and action != "staff.password":
            assert not {"actor", "maker", "checker"} & {item.name for item in command.params}, action


def test_every_command_that_bears_a_name_is_signed() -> None:
    for action, command in leaves(main).items():
        for item in command.params:
            if item.name in ("actor", "maker", "checker"):
                assert not item.required, action
                assert isinstance(item, click.Option)


# -- who gives commands -------------------------------------------------------------------------------------


def test_nobody_does_anything_without_a_session(house: House) -> None:
    for words in (
        ["outlet", "list"],
        ["outlet", "freeze", "A1", "--actor", "wang"],
        ["fund", "ask", "A1", "50", "--slip", "s", "--maker", "wang"],
    ):
        assert "nobody is logged in" in house.run("stranger", *words, code=1)
    assert "every balance" in house.run("stranger", "verify")


def test_nobody_acts_in_anothers_name(house: House) -> None:
    said = house.run("wu", "outlet", "freeze", "A1", "--actor", "sun", code=1)
    assert "wu is logged in, not sun" in said
    house.run("wu", "outlet", "freeze", "A1")
    said = house.run(
        "zhou", "order", "resolve", "5", "executed", "--evidence", "e", "--checker", "li", code=1
    )
    assert "zhou is logged in, not li" in said


def test_a_session_ends_by_time_by_logout_and_by_a_block(house: House) -> None:
    house.run("wu", "logout")
    assert "nobody is logged in" in house.run("wu", "outlet", "list", code=1)
    house.run("qian", "staff", "block", "sun")
    assert "has ended" in house.run("sun", "outlet", "list", code=1)
    assert "blocked" in house.log_in("sun", code=1)
    Clock.ms += 16 * MINUTE
    assert "is over" in house.run("zhou", "outlet", "list", code=1)
    house.log_in("zhou")
    assert "A1" in house.run("zhou", "outlet", "list")


def test_a_sessions_file_is_its_owners_only(house: House) -> None:
    path = house.session("wu")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    assert "may be read by others" in house.run("wu", "outlet", "list", code=1)
    path.chmod(0o600)
    path.write_text("AAAA")
    assert "not one of ours" in house.run("wu", "outlet", "list", code=1)


def test_five_wrong_passwords_lock_the_login_out(house: House) -> None:
    for _ in range(5):
        said = house.log_in("wu", "wrong password", code=1)
    assert "locked out" in said
    assert "locked out" in house.log_in("wu", code=1)
    number = _number(house.run("wang", "staff", "unblock", "wu"))
    assert "locked" in house.run("wang", "staff", "list")
    assert "two people" in house.run("wang", "request", "approve", number, code=1)
    house.run("qian", "request", "approve", number)
    assert "is logged in" in house.log_in("wu")


def test_a_password_of_ones_own(house: House) -> None:
    new = "a new and longer one"
    house.run("wu", "staff", "password", typed=f"{OWN}\n{house.code('wu')}\n{new}\n{new}\n")
    assert "nobody is logged in" in house.run("wu", "outlet", "list", code=1)
    house.log_in("wu", new)
    house.run("wu", "outlet", "list")


# -- roles and scopes ---------------------------------------------------------------------------------------

DENIED = [
    # who      command                                                    why
    ("wu", ["staff", "list"], "the role may not do staff.list"),
    ("wu", ["fund", "confirm", "1"], "fund.confirm"),
    ("wu", ["order", "resolve", "5", "executed", "--evidence", "e"], "order.resolve"),
    ("wu", ["personalise", "/tmp/x"], "personalise"),
    ("wu", ["request", "approve", "1"], "request.approve"),
    ("wang", ["fund", "ask", "A1", "50", "--slip", "s"], "fund.ask"),
    ("zhou", ["outlet", "freeze", "A1"], "outlet.freeze"),
    ("zhou", ["staff", "add", "x1", "--name", "x", "--role", "admin"], "staff.add"),
    ("zheng", ["outlet", "freeze", "A1"], "outside"),
    ("zheng", ["outlet", "show", "A1"], "outside"),
    ("zheng", ["outlet", "pin", "A1"], "outside"),
    ("zheng", ["outlet", "block-card", "89860000000000000001"], "outside"),
    ("zheng", ["fund", "ask", "A1", "50", "--slip", "s"], "outside"),
    ("zheng", ["outlet", "add", "C1", "--phone", "13900000009"], "not about an outlet"),
    ("zheng", ["outlet", "add", "C1", "--phone", "13900000009", "--parent", "A1"], "outside"),
]


@pytest.mark.parametrize("who", sorted({row[0] for row in DENIED}))
def test_the_wrong_role_and_the_wrong_part_of_the_tree(house: House, who: str) -> None:
    before = house.run("qian", "outlet", "list")
    for name, words, why in DENIED:
        if name == who:
            assert why in house.run(who, *words, code=1)
    assert house.run("qian", "outlet", "list") == before
    assert house.run("qian", "request", "list").strip() == "waiting: none"


def test_a_clerk_sees_his_own_part_of_the_tree(house: House) -> None:
    assert "B1" not in house.run("wu", "outlet", "list")
    assert "A1" not in house.run("zheng", "outlet", "list")
    house.run("wu", "outlet", "pin", "A1")
    house.run("wu", "fund", "ask", "A1", "50", "--slip", "s1")
    assert "pin.reset" in house.run("wu", "request", "list")
    assert "none" in house.run("zheng", "request", "list")
    assert "none" in house.run("zheng", "fund", "list")
    assert "s1" in house.run("wu", "fund", "list")


# -- two people ---------------------------------------------------------------------------------------------


def test_a_pin_is_reset_by_two_people_and_told_to_the_second(house: House) -> None:
    asked = house.run("wu", "outlet", "pin", "A1")
    assert not re.search(r"new PIN [0-9]{6}", asked)
    number = _number(asked)
    assert "may not confirm pin.reset" in house.run("zhou", "request", "approve", number, code=1)
    assert re.search(r"new PIN [0-9]{6}", house.run("sun", "request", "approve", number))
    assert "no request" in house.run("qian", "request", "approve", number, code=1)


def test_money_is_confirmed_by_finance_only_whichever_command_says_it(house: House) -> None:
    number = _number(house.run("wu", "fund", "ask", "A1", "50", "--slip", "s1"))
    assert "may not" in house.run("qian", "request", "approve", number, code=1)
    assert "may not" in house.run("qian", "money", "confirm", number, code=1)
    assert "1050.00" not in house.run("qian", "outlet", "list")
    assert "SETTLED" in house.run("zhou", "request", "approve", number)
    assert "1050.00" in house.run("qian", "outlet", "list")
    other = _number(house.run("zhou", "fund", "ask", "A1", "60", "--slip", "s2"))
    assert "two people" in house.run("zhou", "request", "approve", other, code=1)
    assert "two people" in house.run("zhou", "fund", "confirm", other, code=1)


def test_a_freeze_is_quick_and_lifting_it_is_not(house: House) -> None:
    house.run("wu", "outlet", "freeze", "A1")
    assert "suspended" in house.run("qian", "outlet", "list")
    number = _number(house.run("wu", "outlet", "freeze", "A1", "--lift"))
    assert "suspended" in house.run("qian", "outlet", "list")
    house.run("sun", "request", "approve", number)
    assert "suspended" not in house.run("qian", "outlet", "list")


def test_keys_leave_the_house_by_two_people(house: House) -> None:
    path = house.folder / "for-the-card-maker.json"
    number = _number(house.run("wang", "personalise", str(path)))
    assert not path.exists()
    house.run("qian", "request", "approve", number)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "kic" in path.read_text()


def test_a_doubt_is_decided_by_two_people(house: House) -> None:
    desk = office.Office(load(house.folder / "aircharge.toml"))
    order = Order(
        Channel.SMS,
        Key("sms:13900000001", "m1"),
        Asker("13900000001", "0353911"),
        Msisdn("13812345678"),
        5000,
        Clock.ms,
    )
    [receipt] = desk.store.run([OpenRecharge(order, 1)])
    number = str(receipt.order_id)
    desk.store.run([CloseRecharge(receipt.order_id, Verdict.UNKNOWN, manual=True)])
    desk.close()
    words = ["order", "resolve", number, "executed", "--evidence", "letter 7"]
    assert "outside" in _moved(house, "sun", "B1", words)
    request = _number(house.run("sun", *words))
    assert "may not" in house.run("sun", "request", "approve", request, code=1)
    assert "two people" in house.run("zhou", *words, "--checker", "zhou", code=1)
    assert "SETTLED" in house.run("zhou", "request", "approve", request)
    assert "950.00" in house.run("qian", "outlet", "list")
    assert "already" in house.run("zhou", *words, code=1)


def _moved(house: House, manager: str, away: str, words: list[str]) -> str:
    """What a manager of A1 is told when he works for another part of the tree; he comes back."""
    told = ""
    for scope in (away, "A1"):
        request = _number(house.run("wang", "staff", "role", manager, "manager", "--scope", scope))
        house.run("li", "request", "approve", request)
        house.log_in(manager)
        told = told or house.run(manager, *words, code=1)
    return told


def test_a_request_is_declined_with_a_note(house: House) -> None:
    number = _number(house.run("wu", "outlet", "pin", "A1"))
    house.run("sun", "request", "decline", number, "--note", "it was not them")
    assert "none" in house.run("qian", "request", "list")
    assert "no request" in house.run("sun", "request", "approve", number, code=1)


def test_a_request_nobody_decides_ends(house: House) -> None:
    number = _number(house.run("wu", "outlet", "pin", "A1"))
    money = _number(house.run("wu", "fund", "ask", "A1", "50", "--slip", "s1"))
    Clock.ms += 7 * 1440 * MINUTE
    for who in ("sun", "zhou"):
        house.log_in(who)
    assert "7 days" in house.run("sun", "request", "approve", number, code=1)
    assert "7 days" in house.run("zhou", "request", "approve", money, code=1)
    assert "no request" in house.run("zhou", "fund", "confirm", money, code=1)


def test_the_duress_pin_is_typed_and_never_shown(house: House) -> None:
    assert "630284" not in house.run("wu", "outlet", "duress", "A1", typed="630284\n630284\n")
    assert "too easy" in house.run("wu", "outlet", "duress", "A1", typed="123456\n123456\n", code=1)


def test_staff_commands_before_there_is_staff(tmp_path: Path) -> None:
    Instance(tmp_path, Ports()).create([SHOP])
    house = House(tmp_path)
    said = house.run("x", "staff", "add", "li", "--name", "Li", "--role", "admin", "--actor", "x", code=1)
    assert "staff init" in said
    assert "outlet" in house.run("x", "outlet", "freeze", "A1", "--actor", "anybody")
    assert "Missing option '--actor'" in house.run("x", "outlet", "freeze", "A1", code=2)
