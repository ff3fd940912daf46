"""What ``sam package`` does: functions' folders become archives, and the template names them by hash.

A folder with a ``requirements.txt`` gets its packages installed beside its code, once for each content of
the file (kept in the user's cache). A Node.js folder is taken as it is, with its ``node_modules``.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from sluiceway.cli.running import fail
from sluiceway.config import cache_folder, program_path
from sluiceway.errors import DomainError
from sluiceway.services.stacks import templates

#: Resource type -> the property that names code beside the template.
CODE: Final = {"AWS::Serverless::Function": "CodeUri", "AWS::Lambda::Function": "Code"}
_SKIPPED: Final = frozenset({"__pycache__", ".git", ".venv", ".mypy_cache", ".pytest_cache", ".DS_Store"})
_INSTALL_S: Final = 600.0
_EPOCH: Final = (2000, 1, 1, 0, 0, 0)  # a fixed time in archives: the same files make the same hash


@dataclass(slots=True)
class Package:
    """A template whose code is archived. ``archives`` maps keys in the bucket to files."""

    template: dict[str, Any]
    archives: dict[str, Path] = field(default_factory=dict)
    places: list[tuple[dict[str, Any], str, str]] = field(default_factory=list)

    def add(self, file: Path) -> str:
        """An archive's key: the same content has the same."""
        with file.open("rb") as content:
            key = hashlib.file_digest(content, "sha256").hexdigest() + ".zip"
        self.archives[key] = file
        return key

    def text(self, bucket: str) -> str:
        """The template with the archives' addresses in ``bucket``."""
        for properties, name, key in self.places:
            properties[name] = {"S3Bucket": bucket, "S3Key": key} if name == "Code" else f"s3://{bucket}/{key}"
        return yaml.safe_dump(self.template, sort_keys=False, default_flow_style=False)


def read_template(file: Path) -> dict[str, Any]:
    """The template at ``file``. Ends the command with the reason if it is none."""
    try:
        return templates.parse(file.read_text("utf-8"))
    except FileNotFoundError:
        raise fail(f"There is no template {file}.") from None
    except OSError as error:
        raise fail(f"Can't read {file}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise fail(f"{file} is no template: it is not text in UTF-8.") from None
    except DomainError as error:
        raise fail(f"{file}: {error.message}") from None


def package(file: Path, folder: Path, say: Callable[[str], Any]) -> Package:
    """Archive into ``folder`` what the template at ``file`` refers to. Ends the command with the reason if it can't."""
    made = Package(read_template(file))
    shared = _properties((made.template.get("Globals") or {}).get("Function")).get("CodeUri")
    keys: dict[Path, str] = {}
    for logical, declared in made.template["Resources"].items():
        kind = CODE.get(declared.get("Type", "")) if isinstance(declared, dict) else None
        if kind is None:
            continue
        properties = declared.setdefault("Properties", {})
        place = _properties(properties).get(kind, shared if kind == "CodeUri" else None)
        if isinstance(place, str) and not place.startswith("s3://"):
            code = (file.parent / place).resolve()
            if code not in keys:
                keys[code] = _archive(code, logical, folder, made, say)
            made.places.append((properties, kind, keys[code]))
    return made


def _properties(value: Any) -> dict[str, Any]:
    """``value``, if it is a map; the server says what is wrong with another."""
    return value if isinstance(value, dict) else {}


def _archive(code: Path, logical: str, folder: Path, made: Package, say: Callable[[str], Any]) -> str:
    if code.suffix == ".zip" and code.is_file():
        return made.add(code)
    if not code.is_dir():
        raise fail(f"{logical}: there is no folder {code}.")
    sources = [code]
    requirements = code / "requirements.txt"
    if requirements.is_file() and requirements.read_text().strip():
        sources.insert(0, _installed(requirements, say))
    target = folder / f"{secrets.token_hex(8)}.zip"
    _write(target, sources)
    return made.add(target)


def _write(target: Path, sources: list[Path]) -> None:
    """One archive of all ``sources``; the later one's files win."""
    files = {str(path.relative_to(source)): path for source in sources for path in _files(source)}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = (files[name].stat().st_mode & 0xFFFF) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            with files[name].open("rb") as source, archive.open(info, "w") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in names:
            path = Path(root, name)
            if name not in _SKIPPED and path.is_file():
                yield path


def _installed(requirements: Path, say: Callable[[str], Any]) -> Path:
    """The folder with the packages of ``requirements``, made once."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(f"{version}\n{requirements.read_text()}".encode()).hexdigest()[:32]
    base = cache_folder() / "packages"
    target = base / digest
    if target.is_dir():
        return target
    say(f"Installing the packages of {requirements.parent.name}/requirements.txt")
    base.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=base, prefix="."))
    try:
        _install(requirements, fresh)
        fresh.rename(target)
    except OSError:  # another deployment was faster
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def _install(requirements: Path, target: Path) -> None:
    command = _install_command(requirements, target)
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S)
    except subprocess.TimeoutExpired:
        raise fail(f"Installing {requirements} took more than {_INSTALL_S:.0f} seconds and was given up.") from None
    if result.returncode != 0:
        raise fail(f"Could not install {requirements}:\n{result.stderr[-2000:]}")


def _install_command(requirements: Path, target: Path) -> list[str]:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{program_path()}")
    arguments = ["install", "--quiet", "--requirement", str(requirements), "--target", str(target)]
    if uv:
        return [uv, "pip", *arguments, "--python", sys.executable]
    return [sys.executable, "-m", "pip", *arguments]
