"""A test that prints 'Error' and passes is no test: every one asserts something."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def asserts(node: ast.AST) -> bool:
    """True where a function holds an assertion or expects an error."""
    for part in ast.walk(node):
        if isinstance(part, ast.Assert):
            return True
        if isinstance(part, ast.Call):
            name = ast.unparse(part.func)
            if name in ("pytest.raises", "pytest.fail", "pytest.warns") or ".assert_" in name:
                return True
    return False


def idle_tests(sources: dict[str, str]) -> list[str]:
    """Tests that neither assert nor call a function of the tests, or a method of its class, that does."""
    trees = {name: ast.parse(text) for name, text in sources.items()}
    functions = [
        (name, node) for name, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    ]
    checking = {node.name for _, node in functions if asserts(node)}
    while True:
        calling = {
            node.name
            for _, node in functions
            if node.name not in checking
            and any(
                isinstance(part, ast.Call) and ast.unparse(part.func).split(".")[-1] in checking
                for part in ast.walk(node)
            )
        }
        if not calling:
            break
        checking |= calling
    return sorted(
        f"{name}::{node.name}"
        for name, node in functions
        if node.name.startswith("test_")
        and not asserts(node)
        and not any(
            isinstance(part, ast.Call) and ast.unparse(part.func).split(".")[-1] in checking
            for part in ast.walk(node)
        )
    )


@pytest.mark.long
def test_every_test_asserts():
    sources = {str(path.relative_to(TESTS)): path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py")}
    assert len(sources) > 100
    assert idle_tests(sources) == []


@pytest.mark.parametrize(
    "body, idle",
    [
        ("print('Error')", True),
        ("assert 1", False),
        ("with pytest.raises(ValueError):\n        f()", False),
        ("check()", False),
        ("other()", True),
    ],
)
def test_an_idle_test_is_found(body, idle):
    text = f"def check():\n    assert 1\ndef other():\n    print(1)\ndef test_x():\n    {body}\n"
    assert idle_tests({"made": text}) == (["made::test_x"] if idle else [])
