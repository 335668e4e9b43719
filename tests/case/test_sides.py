"""A whole case that is mirrored or turned over is found by which organ lies on which side of which."""

import numpy as np
import pytest
from made_cases import ball
from made_segmentations import masks, patient

from needleplan.case.load import inspect_case
from needleplan.case.model import Role, Severity, Structure
from needleplan.case.sides import UNDECIDED_MM, Situs, check_centres, check_sides

#: Centres in patient LPS mm of a lying adult, rounded from the built-in patient.
CENTRES = {
    "liver": (-55.0, -20.0, 0.0), "spleen": (95.0, 40.0, 5.0), "stomach": (45.0, -25.0, 0.0),
    "heart": (25.0, -45.0, 95.0), "kidney_right": (-60.0, 45.0, -70.0), "kidney_left": (60.0, 45.0, -65.0),
    "lung_left": (75.0, 10.0, 110.0), "lung_right": (-80.0, 10.0, 110.0), "vertebrae": (0.0, 70.0, -10.0),
    "urinary_bladder": (0.0, -30.0, -250.0),
}  # fmt: skip


def test_a_sound_case_says_nothing_and_other_names_are_not_judged() -> None:
    assert check_centres(CENTRES) == []
    assert check_centres({f"my_{name}": np.multiply(centre, -1) for name, centre in CENTRES.items()}) == []
    where = masks()
    grid = patient()[0]
    real = {name: grid.to_patient(np.argwhere(mask)).mean(axis=0) for name, mask in where.items() if mask.any()}
    assert check_centres(real) == []


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ((-1, 1, 1), ["where it belongs right"]),
        ((1, -1, 1), ["where it belongs in front"]),
        ((1, 1, -1), ["upside down"]),
        ((-1, -1, 1), ["where it belongs right", "where it belongs in front"]),
        ((-1, -1, -1), ["where it belongs right", "where it belongs in front", "upside down"]),
    ],
)
def test_every_flip_is_refused_and_named(factors, words) -> None:
    findings = check_centres({name: np.multiply(centre, factors) for name, centre in CENTRES.items()})
    assert [finding.severity for finding in findings] == [Severity.REFUSED] * len(words)
    assert {finding.code for finding in findings} == {"mirrored"}
    for finding, expected in zip(findings, words, strict=True):
        assert expected in finding.message


def test_two_kidneys_exchanged_are_refused_among_organs_and_alone() -> None:
    exchanged = CENTRES | {"kidney_left": CENTRES["kidney_right"], "kidney_right": CENTRES["kidney_left"]}
    (finding,) = check_centres(exchanged)
    assert finding.severity is Severity.REFUSED and "kidney_right lies left of kidney_left" in finding.message
    assert finding.code == "sides-exchanged"
    alone = {name: exchanged[name] for name in ("kidney_left", "kidney_right")}
    assert [finding.severity for finding in check_centres(alone)] == [Severity.REFUSED]
    swapped = {f"{side} kidney": alone[f"kidney_{side}"] for side in ("left", "right")}
    assert [finding.severity for finding in check_centres(swapped)] == [Severity.REFUSED]


@pytest.mark.parametrize(
    ("middle", "named"),
    [
        ({"vertebrae": (0, 70, 0)}, "vertebrae"),
        ({"spinal_cord": (3, 65, 0), "body": (40, 0, 0)}, "spinal_cord"),
        ({"body": (0, 0, 0)}, "body"),
        ({"liver": (-55, -20, 0), "spleen": (95, 40, 5)}, "the middle between liver and spleen"),
        ({"liver": (-55, -20, 0), "stomach": (45, -25, 0)}, "the middle between liver and stomach"),
    ],
)
def test_a_lone_organ_on_the_other_side_of_the_middle_is_a_doubt(middle, named) -> None:
    for side, sign in (("left", 1), ("right", -1)):
        for name in (f"kidney_{side}", f"{side} kidney", f"rib_{side}_9"):
            assert check_centres(middle | {name: (sign * 60, 45, -70)}) == []
            (finding,) = check_centres(middle | {name: (-sign * 60, 45, -70)})
            assert finding.severity is Severity.WARNING and finding.code == "sides-doubtful"
            assert named in finding.message and side in finding.message
    assert check_centres(middle | {"heart_ventricle_right": (60, -45, 95)}) == [], "it lies left in everybody"
    near = {"kidney_left": (-7.0 + np.mean([centre[0] for centre in middle.values()]), 45, -70)}
    assert check_centres({"vertebrae": (0, 70, 0), "kidney_left": (-UNDECIDED_MM + 0.1, 45, -70)}) == []
    assert named == "spinal_cord" or check_centres(middle | near) == []


def test_two_single_organs_on_the_wrong_side_are_more_than_a_doubt() -> None:
    wrong = {"vertebrae": (0, 70, 0), "kidney_left": (-60, 45, -70), "lung_right": (80, 10, 110)}
    assert check_centres(wrong)[0].code == "mirrored"
    assert check_centres(wrong | {"kidney_left": (60, 45, -70)})[0].severity is Severity.WARNING


def test_mirrored_organs_can_be_stated_but_pairs_stay_pairs() -> None:
    unpaired = {name: centre for name, centre in CENTRES.items() if not name.endswith(("left", "right"))}
    inverse = {name: np.multiply(centre, (-1, 1, 1)) for name, centre in unpaired.items()}
    assert check_centres(inverse, Situs.INVERSUS) == []
    assert check_centres(inverse)[0].severity is Severity.REFUSED
    assert check_centres(unpaired, Situs.INVERSUS)[0].severity is Severity.REFUSED
    kidneys = {name: np.multiply(CENTRES[name], (-1, 1, 1)) for name in ("kidney_left", "kidney_right")}
    assert check_centres(kidneys, Situs.INVERSUS)[0].severity is Severity.REFUSED


def test_what_is_nearly_level_decides_nothing() -> None:
    near = {"kidney_left": (0.0, 0.0, 0.0), "kidney_right": (UNDECIDED_MM - 0.1, 0.0, 0.0)}
    assert check_centres(near) == []
    far = {"kidney_left": (0.0, 0.0, 0.0), "kidney_right": (UNDECIDED_MM + 0.1, 0.0, 0.0)}
    assert len(check_centres(far)) == 1


def test_surfaces_are_judged_by_their_places_too() -> None:
    structures = [Structure(n, Role.CRITICAL, ball(CENTRES[n], 15.0)) for n in ("liver", "spleen", "stomach")]
    assert check_sides(structures) == []
    turned = [Structure(s.name, s.role, ball(np.multiply(CENTRES[s.name], (-1, 1, 1)), 15.0)) for s in structures]
    assert check_sides(turned)[0].code == "mirrored"


def test_a_manifest_of_a_mirrored_case_is_refused_and_situs_allows_it(tmp_path) -> None:
    """All masks of one file are mirrored together, which no comparison of two structures finds."""
    from needleplan.grid import Grid
    from needleplan.io.nifti import write_labels_nifti

    grid, labels = patient()
    rows = [("tumour", "target", [22]), ("liver", "organ", [6, 7, 9, 22, 23]), ("spleen", "critical", [16]),
            ("stomach", "bowel", [17]), ("body", "skin", list(range(1, 24)))]  # fmt: skip
    text = 'schema = "needleplan.case"\nversion = 1\nname = "m"\nposition = "supine"\n'
    tables = "".join(
        f'\n[[structures]]\nname = "{n}"\nrole = "{r}"\nsource = "a.nii.gz"\nlabels = {v}\n' for n, r, v in rows
    )
    for flip, situs, refused in ((1, "", False), (-1, "", True), (-1, 'situs = "inversus"\n', False)):
        write_labels_nifti(tmp_path / "a.nii.gz", Grid(grid.shape, np.diag([flip, 1, 1, 1.0]) @ grid.T_PV), labels)
        (tmp_path / "case.toml").write_text(text + situs + tables)
        report = inspect_case(tmp_path / "case.toml")
        assert ("mirrored" in {finding.code for finding in report.refused}) is refused
        assert (report.case is None) is refused
