"""Bad input at every command that changes something: its own error on stderr, and no table has changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from aircharge.cli import main
from aircharge.cli.signed import leaves
from aircharge.config import load
from aircharge.instance import Instance, Ports, Shop
from aircharge.ledger.tables import metadata
from aircharge.office import Office
from aircharge.outlets.rights import FREE
from aircharge.outlets.terminals import add_terminal_txn

HUGE: Final = "10000000000000000000"
READS: Final = frozenset(
    (
        "alarms",
        "batch.dry-run",
        "batch.report",
        "batch.show",
        "day.list",
        "fund.list",
        "limit.list",
        "list.show",
        "money.list",
        "order.show",
        "outlet.export",
        "outlet.list",
        "outlet.show",
        "outlet.tree",
        "parked.list",
        "price.list",
        "product.list",
        "prove",
        "request.list",
        "reversal.list",
        "rules.dry-run",
        "rules.list",
        "rules.show",
        "seal.check",
        "seal.head",
        "staff.list",
        "statement",
        "terminal.batch",
        "terminal.batches",
        "terminal.key.compare",
        "terminal.list",
        "terminal.show",
        "terminal.unsettled",
        "transfer-rule.list",
    )
)
"""Commands that change nothing."""

# command (FILE: a malformed file; a person is added) | what is said
BAD: Final = f"""
    batch ask FILE --outlet A1                                  | Error
    batch ask FILE --outlet Z                                   | Error
    batch cancel 7                                              | no batch
    batch start 7 FILE                                          | Error
    day close 1 nonsense                                        | Invalid value
    day cut 77                                                  | no operator 77
    fund ask Z 10 --slip s                                      | Z
    fund ask A1 0 --slip s                                      | more than nothing
    fund ask A1 {HUGE} --slip s                                 | is no amount
    fund ask A1 --slip s -- -1                                  | is no amount
    fund confirm 77                                             | 77
    fund confirm WAITING                                        | two people
    fund file FILE                                              | unexpected end
    fund file EMPTY                                             | at least one line
    fund file SHORT                                             | line 2 has not as many cells
    language abc zh                                             | no phone number
    limit add outlet recharge day --most 0                      | Error
    limit add outlet recharge day --most {HUGE}                 | is no amount
    limit add outlet recharge day --most 10 --only Z            | Z
    limit off 77                                                | 77
    limit on 77                                                 | 77
    limit profile nonsense                                      | nonsense
    list add black outlet Z --reason r                          | no outlet Z
    list add black target 12 --reason r                         | no phone number
    list remove target 13812345678                              | on no list
    money ask adjust-up 0 --reference r --outlet A1             | more than nothing
    money ask adjust-up {HUGE} --reference r --outlet A1        | is no amount
    money ask adjust-up 1 --reference r --outlet Z              | no outlet Z
    money ask --reference r --outlet A1 -- adjust-up -1         | is no amount
    money bank-ask FILE                                         | Error
    money bank-book 77 FILE                                     | Error
    money commission 202613                                     | no month
    money confirm 77                                            | 77
    money confirm WAITING                                       | two people
    money credit Z 10 --until 2026-12-31                        | no outlet Z
    money credit A1 {HUGE} --until 2026-12-31                   | is no amount
    money decline 77 --reason r                                 | 77
    money decline WAITING --reason r                            | two people
    money ticket Z 1 --reference r                              | no outlet Z
    money ticket A1 0 --reference r                             | more than nothing
    money ticket A1 {HUGE} --reference r                        | is no amount
    money ticket A1 --reference r -- -1                         | is no amount
    money transfer A1 Z 1 --reference r                         | no outlet Z
    money transfer Z A1 1 --reference r                         | no outlet Z
    money transfer A1 B1 0 --reference r                        | more than nothing
    money transfer A1 B1 {HUGE} --reference r                   | is no amount
    money transfer --reference r -- A1 B1 -1                    | is no amount
    money undo-transfer 77                                      | no order 77
    order decline 77                                            | 77
    order release 77                                            | no order 77
    order resolve 77 executed --evidence e                      | no order 77
    outlet add A1 --phone 13900000077                           | A1
    outlet add N1 --phone 12                                    | Error
    outlet add N1 --phone 13900000077 --parent Z                | Z
    outlet add N1 --phone 13900000077 --pin-above {HUGE}        | is no amount
    outlet block-card 1234                                      | Error
    outlet card Z --iccid 89860000000000000077 --phone 13900000001 | Z
    outlet duress Z                                             | Error
    outlet found A1 --name Again                                | A1
    outlet freeze Z                                             | Z
    outlet import FILE --pins-file PINS                         | nothing has changed
    outlet lost-sim Z 13900000001                               | Z
    outlet move A1 A1                                           | A1
    outlet move A1 Z                                            | Z
    outlet phone Z 13900000077                                  | Z
    outlet pin Z                                                | Z
    outlet profile A1 nonsense=1                                | nonsense
    outlet release-phone A1 13900000001 --note n                | Error
    outlet step A1 closed                                       | Error
    outlet terminal Z T77                                       | Z
    outlet terminal A1 T77 --move                               | T77
    outlet terminal A1 T77 --block                              | T77
    personalise /nowhere/at/all                                 | Error
    price add discount --rate 100                               | no rate
    price add discount --fixed {HUGE}                           | is no amount
    price end 77 2026-12-31                                     | 77
    product add 1 0                                             | Error
    product add 1 {HUGE}                                        | is no amount
    product end 77 2026-12-31                                   | 77
    product off 77                                              | 77
    product on 77                                               | 77
    request approve 77                                          | 77
    request approve WAITING                                     | two people
    request decline 77 --note n                                 | 77
    request decline WAITING --note n                            | two people
    reversal open 77777777                                      | no recharges
    rules activate 77                                           | 77
    rules draft FILE                                            | Error
    rules retire                                                | Error
    staff add x --name X --role clerk                           | no staff yet
    staff block x                                               | x
    staff password                                              | Error
    staff reset x                                               | no staff yet
    staff role x clerk                                          | no staff yet
    staff unblock x                                             | no staff yet
    terminal bind T77 --merchant 898330154110001                | no terminal T77
    terminal bind T0000001 --merchant 12                        | 15 letters and digits
    terminal bind T0000001 --merchant 898330154110001 --module 1 | 16 letters and digits
    terminal bind T0000001 --merchant 898330154110001 --rights fly | fly
    terminal block T77                                          | no terminal T77
    terminal unblock T77                                        | no terminal T77
    terminal unblock T0000001                                   | active already
    terminal sign-out T0000001                                  | not signed in
    terminal key file KEYS                                      | nothing has changed
    terminal key file FILE                                      | may be read by others
    terminal key file KEYS --transport aes-kw                   | go together
    terminal key component T77 1 --part 1 --of 2                | nothing has changed
    terminal key component T77 1 --part 3 --of 2                | two or three components
    terminal key component-file KEYS --part 1 --of 2            | nothing has changed
    terminal key component-file KEYS --part 3 --of 2            | two or three components
    terminal key component-file FILE --part 1 --of 2            | may be read by others
    terminal key generate T77 --folder PLACE                    | no terminal T77
    terminal key generate T0000001 --octets 7 --folder PLACE    | 7 octets
    terminal key generate T0000001 --folder PINS                | does not exist
    terminal key rewrap T77                                     | unexpected extra argument
    terminal key retire T77 1                                   | no terminal T77
    terminal key retire T0000001 1                              | no key of version 1
    terminal key retire T0000001 256                            | Invalid value
    key accept --maker m                                        | Missing option
    clock accept --maker m                                      | Missing option
    reconciled --maker m --evidence x                           | no restored ledger
    transfer-rule add --from Z --to A1 --most 10                | Error
    transfer-rule add --from A1 --to B1 --most {HUGE}           | Error
    transfer-rule off 77                                        | 77
    transfer-rule on 77                                         | 77
"""
ROWS: Final = [tuple(part.strip() for part in line.split("|")) for line in BAD.strip().splitlines()]


def _action(words: str) -> str:
    commands, first = leaves(main), words.split()
    return next(name for count in (3, 2, 1) if (name := ".".join(first[:count])) in commands)


def test_no_command_is_forgotten() -> None:
    assert set(leaves(main)) - READS - FREE == {_action(words) for words, _ in ROWS}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("bad")
    shops = [
        Shop("A1", "13900000001", "89860000000000000001"),
        Shop("B1", "13900000002", "89860000000000000002"),
    ]
    Instance(folder, Ports()).create(shops)
    (folder / "file.csv").write_text('code,"name\n1,2,3,4,5\n\x00', encoding="utf-8")
    (folder / "empty.csv").write_text("outlet,amount,slip\n", encoding="utf-8")
    (folder / "short.csv").write_text("outlet,amount,slip\nA1,10\n", encoding="utf-8")
    keys = folder / "keys.csv"
    keys.touch(mode=0o600)
    keys.write_text(f"terminal,version,family,key,kcv\nT77,1,3des,{'1' * 32},000000\n", encoding="utf-8")
    made = Office(load(folder / "aircharge.toml"))
    with made.desk("wang") as desk:
        add_terminal_txn(desk, "A1", "T0000001")
    yield made
    made.close()


@pytest.fixture(scope="module")
def waiting(office: Office) -> str:
    return str(office.propose_funding("A1", 1_000, "a slip", maker="wang"))


def _all(office: Office) -> dict[str, list[Any]]:
    with office.store.engine.connect() as txn:
        return {name: sorted(map(repr, txn.execute(select(t)))) for name, t in metadata.tables.items()}


@pytest.mark.parametrize(("words", "said"), ROWS, ids=[words for words, _ in ROWS])
def test_bad_input_changes_nothing(office: Office, waiting: str, words: str, said: str) -> None:
    folder = Path(office.config.path).parent
    places = {
        "FILE": str(folder / "file.csv"),
        "PINS": str(folder / "pins"),
        "EMPTY": str(folder / "empty.csv"),
        "PLACE": str(folder),
        "KEYS": str(folder / "keys.csv"),
        "SHORT": str(folder / "short.csv"),
        "WAITING": waiting,
    }
    first, *rest = _action(words).split(".")
    labels = {p.name for p in leaves(main)[_action(words)].params} & {"actor", "maker", "checker"}
    label = "maker" if "maker" in labels else next(iter(labels))
    given = [places.get(word, word) for word in words.split()][1 + len(rest) :]
    before = _all(office)
    line = ["-c", str(office.config.path), first, *rest, f"--{label}", "wang", *given]
    result = CliRunner().invoke(main, line, input="739154\n739154\n")
    assert result.exit_code in (1, 2), result.output
    assert "Error" in result.stderr
    assert said in result.stderr + (result.stdout if "import" in words else "")
    assert not isinstance(result.exception, AssertionError | KeyError | TypeError | ValueError)
    after = _all(office)
    if words == "staff password":  # a refused try to log in is kept
        del before["audit"], after["audit"]
    assert after == before
