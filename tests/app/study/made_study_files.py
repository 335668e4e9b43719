"""Small study files for tests."""

from dataclasses import replace
from pathlib import Path

from needleplan.app.study.cell_work import catalogue_files
from needleplan.devices.catalogue import DeviceCatalogue, builtin_catalogue

HEAD = 'schema = "needleplan.study"\nversion = 1\nname = "trial"\nseed = 7\n'
PHANTOMS = "[[cases]]\nphantoms = 3\n"


def study_file(folder: Path, body: str = "", cases: str = PHANTOMS, head: str = HEAD) -> Path:
    """A study file in a folder."""
    path = folder / "study.toml"
    path.write_text(f"{head}\n{cases}\n{body}\n", encoding="utf-8")
    return path


def own_tables(folder: Path, devices: DeviceCatalogue) -> str:
    """Applicators and zones of a user's own as CSV beside a study, and the table of the study that names them."""
    applicators, zones = catalogue_files(devices)
    (folder / "own.csv").write_bytes(applicators)
    (folder / "own-zones.csv").write_bytes(zones)
    return '[devices]\napplicators_csv = "own.csv"\nzones_csv = "own-zones.csv"\n'


def own_antenna(name: str = "my-antenna", wider: float = 1.0) -> DeviceCatalogue:
    """A user's own microwave antenna: the built-in one by another name, its zones wider by a factor."""
    shipped = builtin_catalogue()
    of = "generic-mwa-2450"
    zones = tuple(
        replace(row, applicator=name, diameter_mm=row.diameter_mm * wider) for row in shipped.rows(of, "in_vivo")
    )
    return DeviceCatalogue((replace(shipped.applicator(of), name=name),), zones)


def manifest(path: Path, text: str = "this is no case") -> Path:
    """A file where a manifest is expected; nothing that reads a study looks into it any deeper."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
