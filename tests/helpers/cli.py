"""Commands as a user gives them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from helpers.commands import complete
from helpers.server import ServerProcess

AWS = Path(sys.executable).with_name("aws")
GOOD = "Resources:\n  Q: {Type: AWS::SQS::Queue}\nOutputs:\n  Url: {Value: !Ref Q}\n"
FUNCTION = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Slow:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: slow
      Runtime: python3.11
      Handler: main.handler
      Timeout: 60
      CodeUri: code
      Policies:
        - Statement: [{Effect: Allow, Action: "s3:ListAllMyBuckets", Resource: "*"}]
"""
CODE = """
import time
import urllib.request
def handler(event, context):
    print("woken by", event)
    time.sleep(event.get("seconds", 0))
    if event.get("look"):
        import boto3
        return [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]]
    return "rested"
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SLUICEWAY_"))}
    return {**kept, "XDG_RUNTIME_DIR": str(home), **more}


def run(home: Path, *arguments: object, code: int = 0, **more: str) -> str:
    """What a command printed; it ends with ``code`` and never with a traceback."""
    found, text = complete(environment(home, **more), home, *arguments)
    assert "Traceback" not in text, text
    assert found == code, f"{found}: {text}"
    return text


def on(server: ServerProcess, *arguments: object, code: int = 0) -> str:
    return run(server.data.parent, *arguments, "--data", server.data, code=code)


def template(folder: Path, text: str = GOOD, name: str = "template.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "main.py").write_text(CODE)
    (folder / name).write_text(text)
    return folder / name


def folder_with(home: Path, name: str, **files: str | bytes) -> Path:
    made = home / name
    made.mkdir()
    for file, content in files.items():
        path = made / file.replace("__", ".").replace("_", "-")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o600)
    return made
