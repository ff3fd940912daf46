"""The README's example works as it stands there, with what ``sluiceway env`` prints; and what pages link to exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.server import ServerProcess

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "apps/photos/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
_FILE = re.compile(r"`((?:tests|docs|scripts|sluiceway|apps|bench)/[\w./-]+\.\w+)`")


def test_the_example(server: ServerProcess) -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(code) == 1
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **server.environment()}
    ran = subprocess.run([sys.executable, "-c", code[0]], env=environment, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "ObjectCreated:Put cat.jpg\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    missing = [name for name in _LINK.findall(text) if not (page.parent / name).exists()]
    missing += [name for name in _FILE.findall(text) if not (ROOT / name).exists()]
    assert not missing
