"""``aircharge login``, ``logout`` and ``staff``: who works here."""

from __future__ import annotations

import click

from aircharge.cli.show import desk_of, out, show_table
from aircharge.cli.signed import session_file
from aircharge.office import OfficeError, local_time
from aircharge.outlets.rights import Person, Role
from aircharge.outlets.signing_in import Denied, random_totp
from aircharge.outlets.totp import uri_of
from aircharge.staffroom import Staffroom

__all__ = ["login", "logout", "staff"]


@click.command("login")
@click.argument("name")
@click.pass_context
def login(context: click.Context, name: str) -> None:
    """Log in as NAME: password and one-time code are asked for. The first login sets both."""
    with desk_of(context) as office:
        room = Staffroom(office)
        password = click.prompt("Password", hide_input=True)
        code = click.prompt("Code (empty at the first login)", default="", show_default=False)
        person = _let_in(room, name, password, code)
        if room.must_enrol(person):
            person = _enrol(room, person)
        room.begin(person, session_file())
        out.print(f"{person.login} ({person.role}) is logged in: 15 minutes without use, 8 hours at most")
        if from_ms := room.confirms_from_ms(person):
            out.print(
                f"{person.login} confirms nothing before {local_time(from_ms)}: the login is new, or was reset;"
            )
            out.print("whoever did not ask for that has a risk person block it (staff block)")


def _let_in(room: Staffroom, name: str, password: str, code: str) -> Person:
    found = room.sign_in(name, password, code)
    if isinstance(found, Denied):
        raise OfficeError(found.why)
    return found


def _enrol(room: Staffroom, person: Person) -> Person:
    out.print("first login: choose a password of your own, then add the key to your authenticator")
    password = click.prompt("New password", hide_input=True, confirmation_prompt=True)
    secret = random_totp(room.office.chance)
    out.print(uri_of(secret, person.login))
    return room.enrol(person, password, secret, click.prompt("The code it shows"))


@click.command("logout")
def logout() -> None:
    """End the session of this terminal's user."""
    session_file().unlink(missing_ok=True)
    out.print("logged out")


@click.group()
def staff() -> None:
    """People: roles, first passwords, blocks."""


@staff.command("init")
@click.argument("login")
@click.option("--name", required=True)
@click.pass_context
def staff_init(context: click.Context, login: str, name: str) -> None:
    """The first person, an admin; only while there is nobody. From then on names are proved."""
    with desk_of(context) as office:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        Staffroom(office).init(login, name, password)
        out.print(f"{login} is the first admin: aircharge login {login}")


@staff.command("list")
@click.pass_context
def staff_list(context: click.Context) -> None:
    """Everybody."""
    with desk_of(context) as office:
        show_table("staff", Staffroom(office).people())


@staff.command("add")
@click.argument("login")
@click.option("--name", required=True)
@click.option("--role", required=True, type=click.Choice([role.value for role in Role]))
@click.option("--scope", default="", help="An outlet's code: works for it and all below it.")
@click.option("--actor", required=True)
@click.pass_context
def staff_add(context: click.Context, login: str, name: str, role: str, scope: str, actor: str) -> None:
    """Ask for a person to be added; the initial password is shown to whoever confirms."""
    _change(context, "staff.add", actor, login=login, name=name, role=role, scope=scope)


@staff.command("role")
@click.argument("login")
@click.argument("role", type=click.Choice([role.value for role in Role]))
@click.option("--scope", default="", help="An outlet's code: works for it and all below it.")
@click.option("--actor", required=True)
@click.pass_context
def staff_role(context: click.Context, login: str, role: str, scope: str, actor: str) -> None:
    """Ask for another role or scope."""
    _change(context, "staff.role", actor, login=login, role=role, scope=scope)


@staff.command("block")
@click.argument("login")
@click.option("--actor", required=True)
@click.pass_context
def staff_block(context: click.Context, login: str, actor: str) -> None:
    """Let somebody do nothing more, at once."""
    with desk_of(context) as office:
        Staffroom(office).block(login, actor)
        out.print(f"{login} is blocked")


@staff.command("unblock")
@click.argument("login")
@click.option("--actor", required=True)
@click.pass_context
def staff_unblock(context: click.Context, login: str, actor: str) -> None:
    """Ask for a block or a lock-out to be lifted."""
    _change(context, "staff.unblock", actor, login=login)


@staff.command("reset")
@click.argument("login")
@click.option("--actor", required=True)
@click.pass_context
def staff_reset(context: click.Context, login: str, actor: str) -> None:
    """Ask for a new initial password and no authenticator, as on the first day."""
    _change(context, "staff.reset", actor, login=login)


@staff.command("password")
@click.option("--actor", required=True)
@click.pass_context
def staff_password(context: click.Context, actor: str) -> None:
    """Another password for yourself; the old one and a code are asked for."""
    with desk_of(context) as office:
        room = Staffroom(office)
        old = click.prompt("Password", hide_input=True)
        code = click.prompt("Code")
        office.person = None
        person = _let_in(room, actor, old, code)
        room.new_password(person, click.prompt("New password", hide_input=True, confirmation_prompt=True))
        session_file().unlink(missing_ok=True)
        out.print("the password is changed: log in with it")


def _change(context: click.Context, what: str, actor: str, **payload: str) -> None:
    with desk_of(context) as office:
        if office.person is None:
            raise OfficeError("there is no staff yet: aircharge staff init LOGIN --name NAME")
        out.print(Staffroom(office).change(what, payload, actor=actor))
