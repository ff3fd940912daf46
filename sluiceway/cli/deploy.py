"""``sluiceway deploy``: package a template's functions, and create or update its stack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sluiceway.cli.options import Data, Port
from sluiceway.cli.running import Failed, fail, find

_INTERRUPTED = 130  # what shells make of a command that ended by Ctrl-C
Template = Annotated[Path, typer.Argument(help="A SAM or CloudFormation template.")]


def deploy(
    template: Template,
    stack: Annotated[str, typer.Option(help="The stack's name.")],
    parameter: Annotated[list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE; repeatable.")] = None,
    data: Data = None,
    port: Port = None,
) -> None:
    """Create or update a stack from a template, and wait until it stands."""
    from sluiceway.cli.deploying import deploy_to  # here: ``up`` without a template needs nothing of it

    values = _parameters(parameter or [])
    server = find(data, port)
    try:
        outputs = deploy_to(server, template, stack, values, say=typer.echo)
    except KeyboardInterrupt:
        raise Failed(
            f"Stopped waiting. What was begun goes on in the server: 'sluiceway deploy' again waits for stack {stack}.",
            _INTERRUPTED,
        ) from None
    for name, value in outputs.items():
        typer.echo(f"{name} = {value}")


def _parameters(texts: list[str]) -> dict[str, str]:
    values = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise fail(f"--parameter takes NAME=VALUE, not {text!r}.")
        values[name] = value
    return values
