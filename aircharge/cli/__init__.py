"""``aircharge``: the command line. ``root`` holds the oldest commands; a group of its own has a file of its own."""

from aircharge.cli.audio import audio
from aircharge.cli.batch import batch
from aircharge.cli.books import day, seal, statement_command
from aircharge.cli.keeping import backup, clock, init, key, reconciled, restore
from aircharge.cli.money import money
from aircharge.cli.outlet_book import outlet
from aircharge.cli.prove import prove
from aircharge.cli.requests import request
from aircharge.cli.reversal import reversal
from aircharge.cli.risk import limit, lists_group, parked, rules, transfer_rule
from aircharge.cli.root import main
from aircharge.cli.signed import sign_all
from aircharge.cli.staff import login, logout, staff
from aircharge.cli.tariff import price, product
from aircharge.cli.terminal_key import terminal

__all__ = ["main"]

main.add_command(day)
for command in (init, backup, restore, key, clock, reconciled):
    main.add_command(command)
main.add_command(seal)
main.add_command(statement_command)
main.add_command(batch)
main.add_command(money)
main.add_command(outlet)
main.add_command(request)
main.add_command(reversal)
main.add_command(staff)
main.add_command(terminal)
main.add_command(login)
main.add_command(logout)
for group in (product, price, limit, transfer_rule, lists_group, rules, parked):
    main.add_command(group)
sign_all(main)  # last: every command is in its place …
main.add_command(prove)  # … but for those that touch no ledger of ours
main.add_command(audio)
