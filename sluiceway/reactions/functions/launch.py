"""What a worker process runs first; a plain script that knows nothing of the server.

It ties the process to the server's life, sets its limits, and becomes the runtime: for Python it stays and
runs awslambdaric, for the others it is replaced by the runtime's program.
"""

import ctypes
import json
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """``argv[1]`` is JSON: {"parent", "limits": {NAME: n}, "task", "python": handler} or {..., "argv": [...]}."""
    plan = json.loads(sys.argv[1])
    # Die with the server, even if that is killed.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != plan["parent"]:
        sys.exit(1)
    for name, value in plan["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    os.umask(0o077)
    os.chdir(plan["task"])
    if "argv" in plan:
        os.execv(plan["argv"][0], plan["argv"])
    sys.path.insert(0, plan["task"])
    if plan["ports"]:
        hook = os.path.join(os.path.dirname(__file__), "hosts.py")
        ports = {int(port): ours for port, ours in plan["ports"].items()}
        with open(hook, encoding="utf-8") as file:
            exec(compile(file.read(), hook, "exec"), {"__name__": "sluiceway_hosts", "PORTS": ports})
    from awslambdaric.__main__ import main as run

    sys.argv = ["bootstrap", plan["python"]]
    run(sys.argv)


if __name__ == "__main__":
    main()
