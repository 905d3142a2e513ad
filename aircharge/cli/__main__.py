"""``python -m aircharge.cli``: the command line without its script."""

from aircharge.cli import main

main()
