"""``sluiceway keys``: access keys of named users."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from sluiceway.cli.options import Data, Port
from sluiceway.cli.running import fail, find

app = typer.Typer(
    help="Create, list, disable and delete access keys. A key belongs to a named user.", no_args_is_help=True
)
User = Annotated[str, typer.Argument(help="The user's name.")]
KeyId = Annotated[str, typer.Argument(help="The access key's id.")]


@app.command()
def create(
    user: User,
    policy: Annotated[Path | None, typer.Option(help="A JSON file with the user's policy.")] = None,
    data: Data = None,
    port: Port = None,
) -> None:
    """Make a key for USER, who is made too if need be. The secret is shown once.

    Without a policy a new user may do nothing.
    """
    from botocore.exceptions import ClientError

    document = _policy(policy) if policy else None
    server = find(data, port)
    iam = server.client("iam")
    fresh = _ensure_user(iam, user)
    try:
        if document is not None:
            iam.put_user_policy(UserName=user, PolicyName="sluiceway-keys", PolicyDocument=document)
        key = iam.create_access_key(UserName=user)["AccessKey"]
    except ClientError:
        if fresh:
            iam.delete_user(UserName=user)
        raise
    arn = iam.get_user(UserName=user)["User"]["Arn"]
    typer.echo(json.dumps({
        "user": user, "arn": arn, "canonical_id": server.get("users")["users"][user],
        "access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"],
    }, indent=2))  # fmt: skip


@app.command("list")
def list_keys(data: Data = None, port: Port = None) -> None:
    """Show every user's keys (never their secrets), with the user's canonical id."""
    server = find(data, port)
    ids = server.get("users")["users"]
    for user, key in _keys(server.client("iam")):
        when = key["CreateDate"].strftime("%Y-%m-%d %H:%M")
        typer.echo(f"{key['AccessKeyId']}  {key['Status']:<8}  {when}  {user}  {ids.get(user, '')}")


@app.command()
def disable(key_id: KeyId, data: Data = None, port: Port = None) -> None:
    """Refuse a key from now on; delete removes it."""
    iam = find(data, port).client("iam")
    iam.update_access_key(UserName=_owner(iam, key_id), AccessKeyId=key_id, Status="Inactive")


@app.command()
def delete(key_id: KeyId, data: Data = None, port: Port = None) -> None:
    """Remove a key for good."""
    iam = find(data, port).client("iam")
    iam.delete_access_key(UserName=_owner(iam, key_id), AccessKeyId=key_id)


def _keys(iam: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Users' names with their keys."""
    for page in iam.get_paginator("list_users").paginate():
        for user in page["Users"]:
            for key in iam.list_access_keys(UserName=user["UserName"])["AccessKeyMetadata"]:
                yield user["UserName"], key


def _owner(iam: Any, key_id: str) -> str:
    for user, key in _keys(iam):
        if key["AccessKeyId"] == key_id:
            return user
    raise fail(f"There is no key {key_id}. 'sluiceway keys list' shows those that are there.")


def _ensure_user(iam: Any, user: str) -> bool:
    """Whether the user was made now."""
    try:
        iam.create_user(UserName=user)
    except iam.exceptions.EntityAlreadyExistsException:
        return False
    return True


def _policy(file: Path) -> str:
    try:
        text = file.read_text("utf-8")
        json.loads(text)
    except OSError as error:
        raise fail(f"Can't read {file}: {error.strerror}.") from None
    except ValueError as error:
        raise fail(f"{file} is not JSON: {error}") from None
    return text
