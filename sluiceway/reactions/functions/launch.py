"""What a worker process runs first; a plain script that knows nothing of the server.

It confines the process, ties it to the server's life, sets its limits, and becomes the runtime: for Python it
stays and runs awslambdaric, for the others it is replaced by the runtime's program.
"""

import ctypes
import importlib.util
import json
import os
import resource
import signal
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1
_HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    """``argv[1]`` is JSON: {"parent", "limits": {NAME: n}, "task", "sandbox", "required", and "python" with "ports",
    or "argv"}."""
    plan = json.loads(sys.argv[1])
    runtime = _runtime() if "python" in plan else None  # read before the folders close
    if plan["sandbox"] is not None:
        missing = _load("sandbox.py").confine(plan["sandbox"])
        if missing and plan["required"]:
            sys.exit(f"The function can't be confined here: this system has not {missing}.")
    # Die with the server, even if that is killed. (After the namespace, which forgets it.)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != plan["parent"]:
        sys.exit(1)
    for name, value in plan["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    os.umask(0o077)
    os.chdir(plan["task"])
    if runtime is None:
        os.execv(plan["argv"][0], plan["argv"])
    sys.path.insert(0, plan["task"])
    if plan["ports"]:
        _load("hosts.py").install({int(port): ours for port, ours in plan["ports"].items()})
    sys.argv = ["bootstrap", plan["python"]]
    runtime(sys.argv)


def _load(name: str) -> Any:
    """A script beside this one, without a name in ``sys.modules`` that a function's own module could have."""
    spec = importlib.util.spec_from_file_location(f"_sluiceway_{name.removesuffix('.py')}", os.path.join(_HERE, name))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _runtime() -> Any:
    from awslambdaric.__main__ import main as run

    return run


if __name__ == "__main__":
    main()
