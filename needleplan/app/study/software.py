"""What software computes a study: every worker's must be the one that began it, or results would differ."""

import hashlib
import platform
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: Libraries whose version may decide about a result.
LIBRARIES = (
    "numpy", "scipy", "numba", "trimesh", "vtk", "nibabel", "pynrrd", "pydicom", "pybullet",
    "roboticstoolbox-python", "ruckig",
)  # fmt: skip
#: Packages whose own source decides about results.
PACKAGES = ("needleplan", "robots", "sim")


@cache
def software_versions() -> dict[str, str]:
    """Versions by name: needleplan, a digest of its source, Python, libraries."""
    found = {"needleplan": _version("needleplan"), "source": source_digest(), "python": platform.python_version()}
    return found | {name: _version(name) for name in LIBRARIES}


def version_difference(wanted: dict[str, str], found: dict[str, str]) -> str:
    """The first difference in words; empty where there is none."""
    for name in (*wanted, *found):
        if wanted.get(name) != found.get(name):
            if name == "source":
                return "the source of needleplan is another than that of the study"
            return f"{name} is {found.get(name, 'unknown')}, not {wanted.get(name, 'unknown')}"
    return ""


@cache
def source_digest() -> str:
    """SHA-256 (hex) of the code and tables that results come from; not of pages, views and the command line."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        # Imported, as a file of the same name beside a script may come first on the path.
        for root in sorted(import_module(package).__path__):
            for path in sorted(Path(root).rglob("*")):
                name = path.relative_to(root).as_posix()
                if path.suffix not in (".py", ".csv", ".toml", ".urdf") or _shows_only(package, name):
                    continue
                digest.update(f"{package}/{name}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _shows_only(package: str, name: str) -> bool:
    """True for what shows results and computes none."""
    if package != "needleplan":
        return False
    computing = (
        "app/study/case_patient", "app/study/case_work", "app/study/cell_", "app/study/robot_content",
        "app/study/seeds", "app/pipeline.py", "app/breathing_options.py",
    )  # fmt: skip
    return name.startswith(("viz/", "app/")) and not name.startswith(computing)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
