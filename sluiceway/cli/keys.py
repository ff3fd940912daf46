"""``sluiceway keys``: access keys of named users."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError

from sluiceway.cli.options import Data, Port
from sluiceway.cli.running import Running, fail, find

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
    server = find(data, port)
    document = _policy(policy) if policy else None
    iam = server.client("iam")
    try:
        _ensure_user(iam, user)
        if document is not None:
            iam.put_user_policy(UserName=user, PolicyName="sluiceway-keys", PolicyDocument=document)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        arn = iam.get_user(UserName=user)["User"]["Arn"]
    except ClientError as error:
        raise fail(str(error)) from None
    typer.echo(json.dumps({
        "user": user, "arn": arn, "access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"],
    }, indent=2))  # fmt: skip


@app.command("list")
def list_keys(data: Data = None, port: Port = None) -> None:
    """Show every user's keys (never their secrets)."""
    iam = find(data, port).client("iam")
    for user in iam.list_users()["Users"]:
        for key in iam.list_access_keys(UserName=user["UserName"])["AccessKeyMetadata"]:
            when = key["CreateDate"].strftime("%Y-%m-%d %H:%M")
            typer.echo(f"{key['AccessKeyId']}  {key['Status']:<8}  {when}  {user['UserName']}")


@app.command()
def disable(key_id: KeyId, data: Data = None, port: Port = None) -> None:
    """Refuse a key from now on; ``--help`` of delete tells how to remove it."""
    server = find(data, port)
    _on_key(
        server, key_id, lambda iam, user: iam.update_access_key(UserName=user, AccessKeyId=key_id, Status="Inactive")
    )


@app.command()
def delete(key_id: KeyId, data: Data = None, port: Port = None) -> None:
    """Remove a key for good."""
    server = find(data, port)
    _on_key(server, key_id, lambda iam, user: iam.delete_access_key(UserName=user, AccessKeyId=key_id))


def _on_key(server: Running, key_id: str, act: Any) -> None:
    iam = server.client("iam")
    try:
        for user in iam.list_users()["Users"]:
            for key in iam.list_access_keys(UserName=user["UserName"])["AccessKeyMetadata"]:
                if key["AccessKeyId"] == key_id:
                    act(iam, user["UserName"])
                    return
    except ClientError as error:
        raise fail(str(error)) from None
    raise fail(f"There is no key {key_id}.")


def _ensure_user(iam: Any, user: str) -> None:
    try:
        iam.create_user(UserName=user)
    except iam.exceptions.EntityAlreadyExistsException:
        return


def _policy(file: Path) -> str:
    try:
        text = file.read_text()
        json.loads(text)
    except OSError as error:
        raise fail(f"Can't read {file}: {error.strerror}") from None
    except ValueError as error:
        raise fail(f"{file} is not JSON: {error}") from None
    return text
