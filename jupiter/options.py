"""Options that every command of jupiter-ctl takes, before or behind its name, and what they choose together."""

import os
from typing import Any, Final

import click

from jupiter.errors import JupiterError
from jupiter.instance import instance

ENVIRONMENT: Final = {
    "JUPITER_SOCK": "Socket of the service, where neither --unixsock nor --instance is given.",
    "JUPITER_INSTANCE": "Instance, where JUPITER_SOCK is not set either.",
}

JSON: Final = click.Option(["--json", "as_json"], is_flag=True, help="Print JSON, for programs; errors too, on stderr.")
WHERE: Final = (
    click.Option(["--instance"], metavar="NAME", help="The service that was started with --instance=NAME."),
    click.Option(["--unixsock"], metavar="PATH", help=f"Socket of the service (default {instance().socket})."),
    click.Option(["--debug"], is_flag=True, expose_value=False, help="Show where an internal fault happened."),
)


def socket_path(ctx: click.Context) -> str:
    """Of the service that the command line means, or else the environment."""
    path, name = given(ctx, "unixsock"), given(ctx, "instance")
    if path and name:
        raise JupiterError("invalid-argument", "Give --unixsock or --instance, not both: each names a service.")
    if not path and not name:
        path, name = os.environ.get("JUPITER_SOCK"), os.environ.get("JUPITER_INSTANCE")
    return path or str(instance(name or "").socket)


def given(ctx: click.Context, name: str) -> Any:
    """The value of an option behind the command's name, or else before it."""
    return ctx.params.get(name) or ctx.find_root().params.get(name)
