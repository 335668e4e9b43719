"""Pages of the reference: one a module, from its docstrings, and one a package that names its modules."""

import ast
import re
from pathlib import Path

PACKAGES = ("needleplan", "robots", "sim")


def page_of(file: Path) -> Path | None:
    """The reference page of a module's file or a package's folder, from the site's root; None of other files."""
    if file.parts[0] not in PACKAGES:
        return None
    if not file.suffix:
        # A folder of tables or presets is no package.
        return (
            None if file.name in ("presets", "descriptions") else Path("reference", f"{'.'.join(file.parts)}.rst")
        )
    if file.suffix != ".py":
        return None
    parts = file.with_suffix("").parts
    return Path("reference", f"{'.'.join(parts[:-1] if parts[-1] == '__init__' else parts)}.rst")


def write_reference(root: Path, sources: Path) -> None:
    """Write the pages of all public modules.

    Args:
        root: the folder of the packages.
        sources: where Sphinx reads; ``reference`` is made in it.
    """
    (sources / "reference").mkdir()
    modules = _modules(root)
    for name in modules:
        inner = [other for other in modules if other.rpartition(".")[0] == name]
        # Every page shows what is in the toctree: with all modules in it, that would be most of the building time.
        lines = [] if name in PACKAGES else [":orphan:", ""]
        lines += [name, "=" * len(name), ""]
        if name not in PACKAGES:
            lines += [f"In :doc:`{name.rpartition('.')[0]}`.", ""]
        lines += [f".. automodule:: {name}", "   :members:", ""]
        lines += _table(inner, modules)
        (sources / "reference" / f"{name}.rst").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = [
        "Reference",
        "=========",
        "",
        "From the docstrings of all public modules. Lengths end in ``_mm`` on the side of the planner, where "
        "coordinates are patient LPS, and in ``_m`` on the side of robot and simulation.",
        "",
        *_table(list(PACKAGES), modules),
        "",
        ".. toctree::",
        "   :hidden:",
        "",
        *[f"   {name}" for name in PACKAGES],
    ]
    (sources / "reference" / "index.rst").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _table(names: list[str], modules: dict[str, Path]) -> list[str]:
    """Lines of a table of modules with what each is; none where there is none."""
    if not names:
        return []
    lines = [".. list-table::", ""]
    for name in names:
        lines += [f"   * - :doc:`{name}`", f"     - {_summary(modules[name])}"]
    return lines


def _modules(root: Path) -> dict[str, Path]:
    """File by name of every public module, packages before what is in them."""
    found = {}
    for package in PACKAGES:
        files = sorted((root / package).rglob("*.py"), key=lambda f: (f.parent, f.name != "__init__.py", f.name))
        for file in files:
            parts = file.relative_to(root).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            if not any(part.startswith("_") for part in parts):
                found[".".join(parts)] = file
    return found


def _summary(file: Path) -> str:
    """The first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    line = text.split("\n\n")[0].replace("\n", " ")
    # A word that ends in an underscore would be a link.
    return re.sub(r"[*|]|(?<=\w)_(?!\w)", r"\\\g<0>", line)
