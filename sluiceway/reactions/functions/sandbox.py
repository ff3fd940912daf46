"""What a worker process does to itself before it loads anybody's code; a plain script without the server.

It runs as the server's own user, so file permissions alone would let a function read the root key. Two features
of the Linux kernel that need no privileges close that:

* Landlock (``Documentation/userspace-api/landlock.rst``): the process and its children can open only what
  lies below the folders named here, and can neither trace nor signal processes outside.
* A mount namespace of its own with an empty ``/tmp``, as on AWS; where the system forbids that to users,
  functions share the system's ``/tmp``, unless the server's data lies there.
"""

import ctypes
import os
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH, _VERSION_FLAG = 1, 1
_PR_SET_NO_NEW_PRIVS, _PR_SET_DUMPABLE = 38, 4
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000

_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, list a folder
_OF_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
_SCOPES = 1 << 0 | 1 << 1  # abstract sockets, signals


class _Attributes(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # what a packed one has always had; from Python 3.14 on it wants to be said
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def confine(plan: dict[str, Any]) -> str:
    """Confine this process; what could not be done, in words, or "".

    ``plan``: {"read": [path], "write": [path], "tmp": folder that becomes /tmp, "data": the server's folder}.
    """
    missing = []
    private = _private_tmp(plan["tmp"], [*plan["read"], *plan["write"]])
    if not private:
        missing.append("a /tmp of its own")
    write = list(plan["write"])
    if private or not _below(plan["data"], "/tmp"):
        write.append("/tmp")
    if not _landlock(plan["read"], write):
        missing.append("Landlock")
    return " and ".join(missing)


def landlock_version() -> int:
    """The kernel's version of Landlock; 0 if it has none, or has it turned off."""
    return max(0, int(_LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)))


def _below(path: str, folder: str) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(folder) + "/")


# -- Landlock


def _landlock(read: list[str], write: list[str]) -> bool:
    version = landlock_version()
    if version < 1:
        return False
    handled = (1 << 13) - 1
    for since, bit in ((2, 13), (3, 14), (5, 15)):
        handled |= (1 << bit) if version >= since else 0
    attributes = _Attributes(handled, 0, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = _LIBC.syscall(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), 0)
    if rules < 0:
        return False
    for path in read:
        _allow(rules, path, _READ)
    for path in write:
        _allow(rules, path, handled)
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    done = bool(_LIBC.syscall(_RESTRICT_SELF, rules, 0) == 0)
    os.close(rules)
    return done


def _allow(rules: int, path: str, access: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not on this machine
    if not os.path.isdir(path):
        access &= _OF_FILES
    beneath = _Beneath(access, place)
    _LIBC.syscall(_ADD_RULE, rules, _PATH_BENEATH, ctypes.byref(beneath), 0)
    os.close(place)


# -- /tmp


def _private_tmp(folder: str, needed: list[str]) -> bool:
    """Mount ``folder`` over /tmp for this process; what is ``needed`` from below it stays where it was."""
    if not _own_mounts():
        return False
    # Opened in the new namespace: what was opened before belongs to the old one, and can't be mounted in this.
    below = [path for path in needed if _below(path, "/tmp") and os.path.exists(path)]
    kept = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in below]
    own = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        if not _bind(f"/proc/self/fd/{own}", "/tmp"):
            return False
        for path, place in kept:
            if os.path.isdir(f"/proc/self/fd/{place}"):
                os.makedirs(path, exist_ok=True)
            else:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            if not _bind(f"/proc/self/fd/{place}", path):
                raise OSError(f"{path} can't be mounted")
    finally:
        for place in (own, *(place for _, place in kept)):
            os.close(place)
    return True


def _own_mounts() -> bool:
    user, group = os.getuid(), os.getgid()
    flags = _CLONE_NEWNS if user == 0 else _CLONE_NEWNS | _CLONE_NEWUSER
    if _LIBC.unshare(flags) != 0:
        return False
    if user != 0:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
        _LIBC.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    return bool(_LIBC.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) == 0)


def _bind(source: str, target: str) -> bool:
    return bool(_LIBC.mount(source.encode(), target.encode(), None, _MS_BIND | _MS_REC, None) == 0)
