"""Each check of the gate: a case that must fail it and one that must pass it."""

import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console
from small_case import (
    LIVER,
    SKIN,
    TUMOUR,
    VESSEL,
    ball,
    centre_mm,
    grid,
    labels,
    mesh_table,
    table,
    write_case,
    write_case_with_mesh,
)

from needleplan.app.check import render_report
from needleplan.case import checks
from needleplan.case.load import inspect_case, load_case
from needleplan.case.model import Role, Severity, Structure
from needleplan.case.solids import bounds_mm, contains, interior_points
from needleplan.grid import Grid, VoxelMask
from needleplan.io.nifti import write_labels_nifti


def findings(path, severity):
    return {finding.code for finding in inspect_case(path).findings if finding.severity is severity}


def test_bounds_of_an_oblique_mask_hold_every_voxel_corner():
    mask = VoxelMask.cropped(grid(), labels() == TUMOUR)
    corners = np.array([[i, j, k] for i in (-0.5, 0.5) for j in (-0.5, 0.5) for k in (-0.5, 0.5)])
    index = (np.argwhere(mask.inside)[:, None] + corners).reshape(-1, 3)
    points = mask.grid.to_patient(index)
    np.testing.assert_allclose(bounds_mm(mask), [points.min(axis=0), points.max(axis=0)], atol=1e-9)


def test_contains_agrees_for_mask_and_surface_of_one_ball():
    centre = np.array([10.0, -30.0, 55.0])
    mesh = ball(centre, 25.0, 4)
    points = centre + np.random.default_rng(0).uniform(-35, 35, (4000, 3))
    radius = np.linalg.norm(points - centre, axis=1)
    clear = np.abs(radius - 25) > 0.2
    np.testing.assert_array_equal(contains(mesh, points)[clear], (radius < 25)[clear])
    inner = interior_points(mesh, 500)
    assert 300 <= len(inner) <= 500 and (np.linalg.norm(inner - centre, axis=1) <= 25).all()


@pytest.mark.parametrize("role", list(Role))
def test_plausible_sizes_catch_a_thousand_in_both_directions(role):
    least, greatest = checks.PLAUSIBLE_SIDE_MM[role]
    usual = np.sqrt(least * greatest)
    for factor, refused in ((1.0, False), (1e-3, True), (1e3, True)):
        structure = Structure("a", role, ball((0, 0, 0), usual * factor / 2))
        assert bool(checks.check_size(structure)) is refused
    assert (
        "metres read as millimetres"
        in checks.check_size(Structure("a", role, ball((0, 0, 0), usual / 2000)))[0].message
    )


@pytest.mark.parametrize(
    ("cut", "severity"), [(5.0, Severity.WARNING), (3.6, Severity.WARNING), (1.0, Severity.REFUSED)]
)
def test_cut_target_by_its_share(cut, severity):
    """A ball of 6 mm radius cut at a distance h from its centre has the slice 1 - h²/r²."""
    fine = Grid((60, 60, 60), np.diag([0.25, 0.25, 0.25, 1.0]))
    inside = np.linalg.norm(fine.centres_mm() - [cut, 7, 7], axis=1).reshape(fine.shape) < 6
    mask = VoxelMask.cropped(fine, inside)
    assert checks.cut_share(mask) == pytest.approx(1 - cut**2 / 36, abs=0.03)
    found = checks.check_view([Structure("t", Role.TARGET, mask)])
    assert [(f.code, f.severity) for f in found] == [("target-cut", severity)]


def test_target_within_the_image_is_not_cut_and_other_structures_only_noted(tmp_path):
    assert "target-cut" not in {f.code for f in inspect_case(write_case(tmp_path / "a")).findings}
    values = labels()
    values[:, 18:22, 12:16][values[:, 18:22, 12:16] == 0] = SKIN
    assert "touches-edge" in findings(write_case(tmp_path / "b", values), Severity.NOTE)


def test_partly_outside_target_is_a_warning_with_its_share(tmp_path):
    values = labels()
    where = np.argwhere(values == TUMOUR)
    outside = where[where[:, 0] < np.quantile(where[:, 0], 0.2)]
    path = write_case(
        tmp_path,
        values,
        tumour=table("tumour", "target", [1], "tumour.nii.gz"),
        liver=table("liver", "organ", [LIVER, VESSEL, TUMOUR], "organ.nii.gz"),
    )
    write_labels_nifti(tmp_path / "tumour.nii.gz", grid(), (values == TUMOUR) * 1)
    values[tuple(outside.T)] = SKIN
    write_labels_nifti(tmp_path / "organ.nii.gz", grid(), values)
    report = inspect_case(path)
    share = 100 * (1 - len(outside) / len(where))
    warning = next(f for f in report.findings if f.code == "target-partly-outside")
    assert warning.severity is Severity.WARNING and f"{share:.0f} %" in warning.message and report.case is not None


def test_inside_of_chooses_the_organ(tmp_path):
    more = 'inside_of = "lump"'
    lump = table("lump", "organ", [5])
    tumour = table("tumour", "target", [TUMOUR], more=more)
    assert "target-outside" in findings(write_case(tmp_path / "a", tumour=tumour, extra=lump), Severity.REFUSED)
    assert load_case(write_case(tmp_path / "b", extra=lump)).target.name == "tumour"


def test_pieces_of_the_target_and_cavities_of_the_organ(tmp_path):
    values = labels()
    values[22:24, 24:26, 13:15] = TUMOUR
    assert "pieces" in findings(write_case(tmp_path / "a", values), Severity.WARNING)
    holes = write_case(tmp_path / "b", liver=table("liver", "organ", [LIVER, TUMOUR]))
    assert "cavities" in findings(holes, Severity.WARNING)
    assert "cavities" not in findings(write_case(tmp_path / "c"), Severity.WARNING)
    one = table("tumour", "target", [TUMOUR], more="component = { rank = 1 }")
    assert findings(write_case(tmp_path / "d", values, tumour=one), Severity.WARNING) == set()


def test_structures_partly_and_wholly_outside_the_skin(tmp_path):
    body = VoxelMask.cropped(grid(), labels() > 0)
    at = centre_mm(SKIN)
    direction = np.array([1.0, 0, 0])
    steps = np.arange(200.0)
    edge = float(steps[body.contains(at + steps[:, None] * direction)].max())
    found = []
    for distance in (0.0, edge - 4.0, edge + 30.0):
        path = write_case_with_mesh(tmp_path / f"{distance:g}", ball(at + distance * direction, 9.0))
        found.append({f.severity for f in inspect_case(path).findings if f.code == "outside-skin"})
    assert found == [set(), {Severity.WARNING}, {Severity.REFUSED}]


def test_mesh_outside_the_image_is_refused(tmp_path):
    path = write_case_with_mesh(tmp_path, ball(centre_mm(VESSEL) + np.array([0, 0, 400.0]), 9.0))
    assert "outside-image" in findings(path, Severity.REFUSED)


def test_mended_surface_is_used_and_reported(tmp_path):
    mesh = ball(centre_mm(VESSEL), 8.0)
    case = load_case(write_case_with_mesh(tmp_path, mesh.flipped()))
    vessel = next(s for s in case.structures if s.name == "vessel")
    assert vessel.geometry.volume_mm3 == pytest.approx(mesh.volume_mm3, rel=1e-5)
    assert [f.code for f in case.findings if f.severity is Severity.MENDED] == ["inside-out"]


def test_all_faults_are_reported_at_once(tmp_path):
    path = write_case(
        tmp_path,
        bone=table("bone", "bone", [55]),
        vessel=mesh_table("vessel", "vessel", "nothing.stl"),
        tumour=table("tumour", "target", [TUMOUR], more="component = { rank = 7 }"),
    )
    report = inspect_case(path)
    assert {f.structure for f in report.refused} == {"bone", "vessel", "tumour"}
    assert [row.name for row in report.rows] == ["liver", "skin"]


def test_rows_tell_the_truth(tmp_path):
    mesh = ball(centre_mm(VESSEL), 8.0)
    rows = {row.name: row for row in inspect_case(write_case_with_mesh(tmp_path, mesh)).rows}
    assert rows["tumour"].volume_ml == pytest.approx((labels() == TUMOUR).sum() * 3.0 * 3.5 * 4.0 / 1000, rel=1e-5)
    assert rows["vessel"].kind == "surface" and rows["vessel"].elements == len(mesh.faces)
    np.testing.assert_allclose(rows["vessel"].extent_mm, np.ptp(mesh.bounds_mm, axis=0), atol=1e-3)


def test_content_hash_knows_the_content_and_not_the_paths(tmp_path):
    def digest(folder, values=None, **changes):
        return load_case(write_case(tmp_path / folder, values, **changes)).content_hash

    first = digest("a")
    assert digest("b/c/d") == first and len(first) == 64
    sources = 'sources = [{ path = "labels.nii.gz", labels = [4, 3, 2] }]'
    assert digest("e", liver=f'[[structures]]\nname = "liver"\nrole = "organ"\n{sources}\n') == first
    one_voxel = labels()
    one_voxel[tuple(np.argwhere(one_voxel == TUMOUR)[0])] = LIVER
    changed = {
        "voxel": digest("f", one_voxel),
        "clearance": digest("g", vessel=table("vessel", "vessel", [VESSEL], more="clearance_mm = 4.0")),
        "role": digest("h", vessel=table("vessel", "critical", [VESSEL])),
        "position": digest(
            "i", head='schema = "needleplan.case"\nversion = 1\nname = "small"\nposition = "prone"\n'
        ),
    }
    assert len({first, *changed.values()}) == 5


def test_data_folder_of_the_caller_wins_over_the_environment(tmp_path, monkeypatch):
    path = write_case(tmp_path / "a")
    (tmp_path / "data").mkdir()
    (tmp_path / "a" / "labels.nii.gz").rename(tmp_path / "data" / "labels.nii.gz")
    assert inspect_case(path).case is None
    assert load_case(path, tmp_path / "data").name == "small"
    path.write_text(path.read_text().replace("version = 1", 'version = 1\nsources_from = "data"'))
    monkeypatch.setenv("NEEDLEPLAN_DATA", str(tmp_path / "data"))
    assert load_case(path).name == "small"
    monkeypatch.setenv("NEEDLEPLAN_DATA", str(tmp_path / "a"))
    assert load_case(path, tmp_path / "data").name == "small"
    assert inspect_case(path).case is None


def test_entry_substitute_and_own_clearance_reach_the_case(tmp_path):
    entry = '[entry]\nshape = "hull"\nstructures = ["liver", "bone"]\ngrow_mm = 20\n'
    vessel = table("vessel", "vessel", [VESSEL], more="clearance_mm = 4.5")
    case = load_case(write_case(tmp_path, skin="", vessel=vessel, extra=entry))
    assert case.entry_substitute.structures == ("liver", "bone") and case.entry_substitute.grow_mm == 20.0
    assert next(s for s in case.structures if s.name == "vessel").clearance_mm == 4.5
    assert "no-skin" in {f.code for f in case.findings}


def test_report_names_every_structure_and_every_finding(tmp_path):
    for path in (write_case(tmp_path / "a"), write_case(tmp_path / "b", bone=table("bone", "bone", [55]))):
        report = inspect_case(path)
        stream = io.StringIO()
        render_report(report, Console(file=stream, width=400))
        text = stream.getvalue()
        assert all(row.name in text for row in report.rows)
        assert all(f.message in text and f.remedy in text for f in report.findings)
        assert ("ready to plan" in text) == (report.case is not None)


def rendered(report, width):
    stream = io.StringIO()
    render_report(report, Console(file=stream, width=width))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("width", "longest"), [(30, 12), (40, 12), (40, 80), (60, 12), (80, 12), (80, 80), (200, 80)]
)
def test_no_figure_is_cut_on_a_narrow_terminal(tmp_path, width, longest):
    report = inspect_case(write_case(tmp_path))
    first = report.rows[0]
    long = dataclasses.replace(first, name="x" * longest, volume_ml=1234.56, elements=1234567,
                               extent_mm=(301.0, 202.0, 503.0))  # fmt: skip
    text = rendered(dataclasses.replace(report, rows=(long, *report.rows[1:]), findings=()), width)
    flat = " ".join(text.split())
    assert "…" not in text and all(len(line) <= width for line in text.splitlines())
    for figure in ("1234.56", "1234567 voxels", "301 x 202 x 503", "closed"):
        assert figure in flat, figure
    assert text.count("x" * 12) >= longest // 12
    for row in report.rows:
        assert f"{row.volume_ml:.2f}" in text or row is first
        assert row.role.value in text
    # A table as long as there is room for one.
    assert ("made of" in text) is (width >= 80)


def test_a_backslash_at_the_end_of_a_name_stays_one(tmp_path):
    report = inspect_case(write_case(tmp_path))
    rows = (dataclasses.replace(report.rows[0], name="back\\"), *report.rows[1:])
    for width in (40, 200):
        text = rendered(dataclasses.replace(report, name="case\\", rows=rows), width)
        assert "back\\" in text and "case\\, content" in text and "\\\\" not in text


def test_names_with_markup_are_printed_as_they_are(tmp_path):
    report = inspect_case(write_case(tmp_path, bone=table("[red]bone[/]", "bone", [5])))
    stream = io.StringIO()
    render_report(dataclasses.replace(report, name="[b]x"), Console(file=stream, width=300))
    assert "[red]bone[/]" in stream.getvalue() and "[b]x" in stream.getvalue()
