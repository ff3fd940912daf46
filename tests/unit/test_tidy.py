"""Style as a test: sizes, module-level mutable state, swallowed exceptions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "sluiceway").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=_id)
def test_a_file_is_one_concern(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= FILE_LINES_MAX, f"{_id(path)} has {lines} lines: split it by concern"


@pytest.mark.parametrize("path", SOURCES, ids=_id)
def test_functions_fit_a_screen(path: Path) -> None:
    long = [
        f"{node.name} has {size} lines"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (size := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not long, f"{_id(path)}: {long}"


def _is_mutable(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Dict | ast.List | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp):
        return True
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id in {"dict", "list", "set", "defaultdict", "deque", "OrderedDict", "Counter"}
    )


def _declared_constant(annotation: ast.expr | None) -> bool:
    if annotation is None:
        return False
    words = ast.unparse(annotation)
    return words.startswith(("Final", "Mapping", "Sequence", "ErrorTable", "ClassVar"))


@pytest.mark.parametrize("path", SOURCES, ids=_id)
def test_no_module_level_mutable_state(path: Path) -> None:
    found = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and _is_mutable(node.value):
            names = [ast.unparse(target) for target in node.targets]
            if names != ["__all__"]:
                found.append(", ".join(names))
        if isinstance(node, ast.AnnAssign) and _is_mutable(node.value) and not _declared_constant(node.annotation):
            found.append(ast.unparse(node.target))
        if isinstance(node, ast.Global):
            found.append("global " + ", ".join(node.names))
    assert not found, f"{_id(path)}: {found}: annotate constants as Final or Mapping, pass state"


@pytest.mark.parametrize("path", SOURCES, ids=_id)
def test_no_exception_is_swallowed(path: Path) -> None:
    swallowed = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
        and all(isinstance(step, ast.Pass | ast.Continue) for step in node.body)
    ]
    assert not swallowed, f"{_id(path)}: lines {swallowed}"


@pytest.mark.parametrize("path", [p for p in SOURCES if _id(p) != "sluiceway/config/reader.py"], ids=_id)
def test_only_config_reads_the_environment(path: Path) -> None:
    text = path.read_text()
    assert "os.environ" not in text and "getenv(" not in text, f"{_id(path)}: settings come from sluiceway/config"
