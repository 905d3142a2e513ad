"""``aircharge prove``: the whole daemon in simulated worlds, from one seed each."""

from __future__ import annotations

import sys
from pathlib import Path

import click

__all__ = ["prove"]


@click.command()
@click.option("--seed", type=click.IntRange(0), help="The first seed; default: where --state left off, or 1.")
@click.option("--runs", type=click.IntRange(1), default=100, show_default=True, help="How many worlds.")
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes at once.")
@click.option("--state", type=click.Path(path_type=Path), help="A file that keeps the count, to go on later.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each world.")
@click.option("--story", is_flag=True, help="Tell the plan of one seed, and run it.")
def prove(seed: int | None, runs: int, jobs: int, state: Path | None, *, as_json: bool, story: bool) -> None:
    """Run the daemon in simulated worlds where everything breaks, and audit its books against the operator's record.

    The same seed gives the same world, event for event. Exit code 1 when any world has a problem.
    """
    from aircharge.world.loop import main_loop, tell_story, told_as_json

    if story:
        tell_story(seed or 1, print)
    elif as_json:
        sys.exit(told_as_json(seed or 1, runs, jobs, print))
    else:
        sys.exit(main_loop(seed, runs, jobs, state, print))
