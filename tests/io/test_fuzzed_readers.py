"""Every reader of a file from outside: whatever its bytes, they are read or refused by a named error, in bounds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_outcomes import outcome
from mangled_files import bounded_memory, mangled, refused_or_read
from test_mesh_files import VTK_WRITERS, solid, vtk_file

from needleplan.case.manifest import read_manifest
from needleplan.devices.catalogue import builtin_catalogue, load_catalogue
from needleplan.io.frame import FileFrame, FileUnit
from needleplan.io.labels import read_labels
from needleplan.io.meshes import read_mesh, write_mesh
from needleplan.io.nifti import write_labels_nifti
from needleplan.io.nrrd_labels import write_labels_nrrd
from needleplan.io.plan_file import read_outcome, read_plan, write_outcome, write_plan
from needleplan.io.traces import read_breathing_trace
from needleplan.plan import Ablation, Insertion, Plan, PlanStatus, Provenance
from needleplan.trajectory.preset import read_preset
from robots.catalogue import load_robot
from robots.urdf_reader import read_urdf

ROOT = Path(__file__).parents[2]
LPS, MM = FileFrame.LPS, FileUnit.MILLIMETRE


def surface(path: Path) -> object:
    return read_mesh(path, LPS, MM)


def image_in_lps(path: Path) -> object:
    return read_labels(path, LPS, MM)


def made_plan() -> Plan:
    ablations = (Ablation((1.0, 2.0, 3.0), 60.0, 300.0),)
    return Plan(
        "case", "0" * 64, PlanStatus.PARTIAL, (),
        (Insertion((10.0, 20.0, 30.0), (1.0, 2.0, 3.0), "probe", ablations, {"vessel": 3.5}),),
        None, {"length": 3}, 10, 7, None, Provenance("0.1", {"seed": 1, "x": None}, 1, {"read": 0.5}),
    )  # fmt: skip


def small_labels() -> np.ndarray:
    return small_case.labels()[::4, ::4, ::4].copy()


def small_grid():
    return small_case.grid().cropped((0, 0, 0), small_labels().shape)


def sheets(folder: Path) -> Callable[[Path], object]:
    """Reader of a table of zones beside sound applicators."""
    package = ROOT / "needleplan" / "devices"
    return lambda path: load_catalogue(package / "applicators.csv", path)


def seeds(folder: Path) -> dict[str, tuple[Callable[[Path], object], Path]]:
    """A reader and a sound file for each format."""
    found: dict[str, tuple[Callable[[Path], object], Path]] = {}
    for ending in ("nii", "nii.gz"):
        path = folder / f"labels.{ending}"
        write_labels_nifti(path, small_grid(), small_labels())
        found[ending] = read_labels, path
    path = folder / "labels.nrrd"
    write_labels_nrrd(path, small_grid(), small_labels())
    found["nrrd"] = read_labels, path
    for ending in ("stl", "ply", "obj", "vtp"):
        path = folder / f"solid.{ending}"
        write_mesh(path, solid())
        found[ending] = surface, path
    for name in VTK_WRITERS:
        found[f"vtk's {name}"] = surface, vtk_file(folder, name, solid())
    write_plan(folder / "plan.json", made_plan())
    found["plan.json"] = read_plan, folder / "plan.json"
    write_outcome(folder / "outcome.json", outcome())
    found["outcome.json"] = read_outcome, folder / "outcome.json"
    manifest = folder / "case.toml"
    manifest.write_text(small_case.manifest(), encoding="utf-8")
    found["case.toml"] = read_manifest, manifest
    times = np.arange(0.0, 12.0, 0.04)
    heights = 9.0 * np.sin(0.8 * times) ** 4 + 0.01 * np.sin(7.0 * times)
    trace = folder / "platform.txt"
    rows = [f"{t:.2f} 0.1 {h:.4f} 0.2 0 0 0" for t, h in zip(times, heights, strict=True)]
    trace.write_text("\n".join(rows) + "\n", encoding="utf-8")
    found["platform trace"] = read_breathing_trace, trace
    trace = folder / "marker.csv"
    rows = [
        f"{k};{1000 * t:.0f};-490,7;4,1;{60 + h:.3f}".replace(".", ",")
        for k, (t, h) in enumerate(zip(times, heights, strict=True))
    ]
    trace.write_text('"Frame";"Timestamp";"x";"y";"z"\n' + "\n".join(rows) + "\n", encoding="utf-8")
    found["marker trace"] = read_breathing_trace, trace
    zones = folder / "zones.csv"
    zones.write_bytes((ROOT / "needleplan" / "devices" / "zones.csv").read_bytes())
    found["zones.csv"] = sheets(folder), zones
    preset = folder / "preset.toml"
    preset.write_bytes(next((ROOT / "needleplan" / "trajectory" / "presets").glob("*.toml")).read_bytes())
    found["preset"] = read_preset, preset
    urdf = folder / "arm.urdf"
    urdf.write_bytes((ROOT / "robots" / "descriptions" / "table_guide5.urdf").read_bytes())
    found["urdf"] = read_urdf, urdf
    settings_file = folder / "table_guide5.toml"
    settings_file.write_bytes((ROOT / "robots" / "descriptions" / "table_guide5.toml").read_bytes())
    (folder / "table_guide5.urdf").write_bytes(urdf.read_bytes())
    found["robot.toml"] = load_robot, settings_file
    return found


FORMATS = (
    "nii", "nii.gz", "nrrd", "stl", "ply", "obj", "vtp", *(f"vtk's {name}" for name in VTK_WRITERS), "plan.json",
    "outcome.json", "case.toml", "platform trace", "marker trace", "zones.csv", "preset", "urdf", "robot.toml",
)  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return seeds(tmp_path_factory.mktemp("sound"))


def test_every_sound_file_is_read(sound):
    builtin_catalogue()
    assert set(sound) == set(FORMATS)
    for read, path in sound.values():
        read(path)


@pytest.mark.parametrize("name", FORMATS)
def test_mangled_files_are_read_or_refused(sound, name):
    read, path = sound[name]
    content = path.read_bytes()
    worked_on = path.with_name(f"mangled-{path.name}")
    refused = 0

    # Not "explain" and "shrink" for their own sake: a failure prints its bytes, and the next run begins with them.
    @settings(
        max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
    )
    @given(st.data())
    def every(data) -> None:
        nonlocal refused
        refused += refused_or_read(read, worked_on, data.draw(mangled(content))) is not None

    every()
    assert refused > 5


@pytest.mark.parametrize("name", FORMATS)
def test_noise_and_every_short_beginning_is_refused(sound, name):
    read, path = sound[name]
    content = path.read_bytes()
    worked_on = path.with_name(f"short-{path.name}")
    noise = np.random.default_rng(1).bytes(3000)
    for short in (b"", b"\x00", content[:7], noise, b"\x80\x04\x95" + noise[:100], b"PK\x03\x04" + noise[:100]):
        assert refused_or_read(read, worked_on, short) is not None


def test_memory_beyond_the_bound_is_noticed():
    with pytest.raises(AssertionError, match="allocated"), bounded_memory(1_000_000):
        np.ones(10_000_000)


def test_other_errors_are_noticed(tmp_path):
    def careless(path: Path) -> object:
        return path.read_bytes()[10_000_000]

    with pytest.raises(pytest.fail.Exception, match="IndexError"):
        refused_or_read(careless, tmp_path / "a", b"abc")
