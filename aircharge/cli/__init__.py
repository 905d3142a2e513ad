"""``aircharge``: the command line. ``root`` holds the oldest commands; a group of its own has a file of its own."""

from aircharge.cli.root import main

__all__ = ["main"]
