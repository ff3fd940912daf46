"""What a worker finds in its environment (AWS Lambda Developer Guide, "Defined runtime environment variables")."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from sluiceway.config import FunctionSettings, program_path
from sluiceway.core.identity import Scope
from sluiceway.core.store import View
from sluiceway.errors import Unavailable
from sluiceway.services.functions import Function

_HERE: Final = Path(__file__).parent
_MiB: Final = 1024 * 1024


class Keys(Protocol):
    """Temporary credentials."""

    @property
    def access_key_id(self) -> str: ...
    @property
    def secret_access_key(self) -> str: ...
    @property
    def session_token(self) -> str: ...


#: (view, role ARN, session name, seconds) -> credentials with the role's rights.
CredentialsOf = Callable[[View, str, str, int], Keys]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is the same for all workers. ``hosts`` maps AWS's host names to this server's listeners: {"http":
    port, "https": port, "ca": path of a PEM file that vouches for it, "bundle": path of one with the public
    authorities too}."""

    scope: Scope
    own_url: Callable[[], str]
    hosts: Callable[[], Awaitable[dict[str, Any]]]
    python: str
    parent: int
    data: Path
    cache: Path


def environment_of(
    function: Function, keys: Keys, around: Surroundings, hosts: dict[str, Any], api: str, task: Path, own: Path,
    stream: str,
) -> dict[str, str]:  # fmt: skip
    """``api`` is the Runtime API's HOST:PORT, ``task`` the code's folder, ``own`` the worker's own folder."""
    scope, settings = around.scope, function.settings
    values = {
        "PATH": program_path(),
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "HOME": str(own),
        "TMPDIR": str(own / "tmp"),
        "PYTHONPYCACHEPREFIX": str(around.cache),
        "NODE_PATH": str(task / "node_modules"),
        "AWS_REGION": scope.region,
        "AWS_DEFAULT_REGION": scope.region,
        "AWS_ENDPOINT_URL": around.own_url(),
        "AWS_CONFIG_FILE": str(own / "aws-config"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
        "AWS_SESSION_TOKEN": keys.session_token,
        **settings.environment,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{settings.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(settings.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_LAMBDA_RUNTIME_API": api,
        "LAMBDA_TASK_ROOT": str(task),
        "LAMBDA_RUNTIME_DIR": str(_HERE),
        "_HANDLER": settings.handler,
    }
    return values | _host_variables(hosts, settings.environment)


def _host_variables(hosts: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
    """For code that hard-wires AWS's host names: what ``hosts.py`` and ``hosts.cjs`` read, and whom to trust."""
    values = {
        "SLUICEWAY_HOSTS": f"{hosts['http']},{hosts['https']}",
        "AWS_CA_BUNDLE": hosts["bundle"],
        "SSL_CERT_FILE": hosts["bundle"],
        "REQUESTS_CA_BUNDLE": hosts["bundle"],
        "NODE_EXTRA_CA_CERTS": hosts["ca"],
        "NODE_OPTIONS": f"--require {_HERE / 'hosts.cjs'} {given.get('NODE_OPTIONS', '')}".strip(),
    }
    return {name: value for name, value in values.items() if name == "NODE_OPTIONS" or name not in given}


#: The SDKs' settings file of a worker: presigned URLs by today's signature, whatever the region's default.
AWS_CONFIG: Final = "[default]\ns3 =\n  addressing_style = path\n  signature_version = s3v4\n"


#: What every program may need to read; what is not on the machine is left out.
_SYSTEM: Final = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/opt",
    "/proc",
    "/sys",
    "/run",
    "/nix/store",
)


def _sandbox(around: Surroundings, hosts: dict[str, Any], task: Path, own: Path, node: str | None) -> dict[str, Any]:
    """What ``sandbox.py`` is told. The server's data folder is not in it, but for what is the function's."""
    read = [*_SYSTEM, sys.prefix, sys.base_prefix, str(_HERE), str(task)]
    read += [str(Path(node).resolve().parents[1])] if node else []
    read += [hosts["ca"], hosts["bundle"]]
    return {
        "read": read,
        "write": ["/dev", str(own), str(around.cache)],
        "tmp": str(own / "tmp"),
        "data": str(around.data),
    }


def plan_of(
    function: Function, around: Surroundings, hosts: dict[str, Any], task: Path, own: Path, limits: FunctionSettings
) -> dict[str, Any]:
    """What ``launch.py`` is told. Raises ``Unavailable("runtime")`` if the machine has no such runtime."""
    memory = function.settings.memory_mb * _MiB
    caps = {
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": limits.files_max,
        "RLIMIT_FSIZE": limits.temporary_bytes_max,
    }
    runtime = function.settings.runtime
    node = shutil.which("node", path=program_path()) if runtime.startswith("nodejs") else None
    confined = sys.platform == "linux" and limits.sandbox != "off"
    plan: dict[str, Any] = {
        "parent": around.parent,
        "limits": caps,
        "task": str(task),
        "sandbox": _sandbox(around, hosts, task, own, node) if confined else None,
        "required": limits.sandbox == "required",
    }
    if runtime.startswith("python"):
        # What the pool's look at resident memory could miss: one huge allocation between two looks.
        caps["RLIMIT_DATA"] = 2 * memory + 512 * _MiB
        ports = {"80": hosts["http"], "443": hosts["https"]}
        return plan | {"python": function.settings.handler, "ports": ports}
    if runtime.startswith("nodejs"):
        if node is None:
            raise Unavailable("runtime", "Node.js is not installed on the server: put `node` in its PATH.")
        old_space = max(64, int(function.settings.memory_mb * 0.9))
        return plan | {"argv": [node, f"--max-old-space-size={old_space}", str(_HERE / "bootstrap.mjs")]}
    bootstrap = task / "bootstrap"
    if not os.access(bootstrap, os.X_OK):
        raise Unavailable("runtime", "The function's archive has no executable file named bootstrap.")
    return plan | {"argv": [str(bootstrap)]}
