"""The documents name files, tests, options and fields that exist."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from needleplan.app.cli import build_parser
from needleplan.case.model import Role
from needleplan.devices.catalogue import builtin_catalogue
from needleplan.plan import Ablation, CoverageProof, Evidence, Insertion, Metrics, Plan, Provenance

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, link


@pytest.mark.parametrize("path", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_python_in_documents_is_python_and_its_imports_exist(path):
    for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL):
        imports = [n for n in ast.parse(block).body if isinstance(n, ast.Import | ast.ImportFrom)]
        found: dict[str, object] = {}
        exec(compile(ast.Module(imports, []), str(path), "exec"), found)
        names = {(alias.asname or alias.name).split(".")[0] for node in imports for alias in node.names}
        assert names <= set(found)


@pytest.mark.parametrize("path", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_commands_and_options_in_documents_exist(path):
    parser = build_parser()
    (commands,) = [a.choices for a in parser._actions if isinstance(a.choices, dict)]
    fenced = re.findall(r"^```(\S*)\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    blocks = [block for language, block in fenced if not language]
    for line in re.findall(r"^\S*needleplan ([a-z].*)$", "\n".join(blocks), flags=re.MULTILINE):
        words = line.split("#")[0].replace("[", " ").replace("]", " ").split()
        assert words[0] in commands, line
        known = {option for action in commands[words[0]]._actions for option in action.option_strings}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_hazards_name_tests_and_entries_that_exist():
    text = (ROOT / "docs" / "hazards.md").read_text(encoding="utf-8")
    files = re.findall(r"`((?:[a-z]+/)*test_[a-z_]+\.py)", text)
    assert len(files) > 20
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")}
    for file in files:
        assert ROOT / "tests" / file in sources, file
    everything = "\n".join(sources.values())
    for name in re.findall(r"::(test_\w+)", text):
        assert f"def {name}(" in everything, name
    broken = (ROOT / "tests" / "case" / "broken_inputs.py").read_text(encoding="utf-8")
    for words in re.findall(r'broken_inputs ((?:"[^"]*"(?:, )?)+)', text):
        for entry in re.findall(r'"([^".][^"]*)"', words):
            assert f'"{entry}"' in broken, entry


def test_guide_names_every_field_of_the_plan_and_every_role():
    text = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    for kind in (Plan, Insertion, Ablation, Metrics, Evidence, CoverageProof, Provenance):
        for field in fields(kind):
            assert f"`{field.name}" in text or f"`.{field.name}" in text, f"{kind.__name__}.{field.name}"
    for role in Role:
        assert f"`{role.value}`" in text


def test_models_name_every_applicator():
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    for applicator in builtin_catalogue().applicators:
        stem, _, size = applicator.name.rpartition("-")
        assert applicator.name in text or (stem in text and f"`-{size}`" in text), applicator.name
    vendors = [a.name for a in builtin_catalogue().applicators if a.is_vendor_table]
    assert not vendors, f"models.md says that no table is a vendor's, but {vendors} are"


def test_the_project_speaks_of_itself_alone():
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/(work|home|root|tmp)/", text), path.name
