"""``aircharge``: the command line. ``root`` holds the oldest commands; a group of its own has a file of its own."""

from aircharge.cli.books import day
from aircharge.cli.money import money
from aircharge.cli.outlets import outlet
from aircharge.cli.root import main

__all__ = ["main"]

main.add_command(day)
main.add_command(money)
main.add_command(outlet)
