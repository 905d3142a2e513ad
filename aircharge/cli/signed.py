"""Every command acts as a person: one walk over all of them puts the names in and asks the table of rights.

In a house with staff, ``--actor``, ``--maker`` and ``--checker`` are whoever has logged in. In a house without (the
demo, tests, the first day) they are labels that nobody has proved.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any, Final

import click

from aircharge.cli.show import COMMAND, PERSON, desk_of, plain_errors
from aircharge.office import OfficeError
from aircharge.outlets.rights import FREE, Person
from aircharge.staffroom import Staffroom

__all__ = ["leaves", "session_file", "sign_all"]

_LABELS: Final = ("actor", "maker", "checker")


def session_file() -> Path:
    """Where this user's session is kept; AIRCHARGE_SESSION names another place."""
    return Path(os.environ.get("AIRCHARGE_SESSION") or Path.home() / ".aircharge" / "session")


def leaves(group: click.Group, above: str = "") -> dict[str, click.Command]:
    """All commands by their action: "outlet.freeze"."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= leaves(command, f"{above}{name}.")
        else:
            found[above + name] = command
    return found


def sign_all(main: click.Group) -> None:
    """To be called once, when every command is in its place."""
    for action, command in leaves(main).items():
        if action not in FREE:
            _sign(action, command)


def _sign(action: str, command: click.Command) -> None:
    inner = command.callback
    assert inner is not None
    labels = [item for item in command.params if item.name in _LABELS]
    needed = {item.name for item in labels if item.required}
    for item in labels:
        item.required = False

    @functools.wraps(inner)
    def signed(*words: Any, **values: Any) -> Any:
        context = click.get_current_context()
        person = _identify(context, action, values)
        context.meta[PERSON], context.meta[COMMAND] = person, (action, values)
        for item in labels:
            values[str(item.name)] = _name(item, values[str(item.name)], person, needed)
        return inner(*words, **values)

    command.callback = signed


def _identify(context: click.Context, action: str, values: dict[str, Any]) -> Person | None:
    """Who gives this command. Raises ClickException when nobody has logged in or the role may not."""
    with desk_of(context) as office:
        office.check_schema()
        room = Staffroom(office)
        if not room.has_staff():
            return None
        person = room.resume(session_file())
        room.check(person, action, values)
        return person


def _name(item: click.Parameter, said: str | None, person: Person | None, needed: set[str]) -> str | None:
    """What a label comes to."""
    if person is None:
        if not said and item.name in needed:
            raise click.MissingParameter(param=item)
        return said
    with plain_errors():
        if said and said != person.login:
            raise OfficeError(f"{person.login} is logged in, not {said}")
    return person.login if said or item.name in {*needed, "actor"} else None
