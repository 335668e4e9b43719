"""Needles from lines: which end is the tip, in which order, and which lines are none."""

import numpy as np
import pytest

from needleplan.coverage.treatment_state import MeasuredNeedle
from needleplan.errors import CaseError
from needleplan.io.markup_needles import insertions_of_lines
from needleplan.io.slicer_markups import MarkupLine, MarkupPoint


def line(name: str, labels: tuple[str, str] = ("", ""), length_mm: float = 90.0) -> MarkupLine:
    start = np.array([-12.5, 33.25, 140.0])
    ends = (start, start + length_mm * np.array([0.6, 0.0, -0.8]))
    return MarkupLine(name, *(MarkupPoint(label, end) for label, end in zip(labels, ends, strict=True)))


def test_the_numbers_of_the_names_are_the_order():
    found = insertions_of_lines([line("needle 3"), line("needle 1"), line("needle-12")], "a")
    assert [one.order for one in found] == [1, 3, 12]
    assert found[0].applicator == "a" and found[0].ablations == ()
    assert found[0].depth_mm == pytest.approx(90.0)
    np.testing.assert_allclose(MeasuredNeedle.of(found[1]).direction, [0.6, 0.0, -0.8])


def test_without_numbers_the_lines_come_in_their_sequence():
    found = insertions_of_lines([line("L", length_mm=50), line("L_1", length_mm=60), line("left")], "a")
    assert [(one.order, round(one.depth_mm)) for one in found] == [(1, 50), (2, 60), (3, 90)]


def test_labels_tell_the_tip():
    plain = insertions_of_lines([line("a")], "a")[0]
    for labels in (("entry 1", "tip 1"), ("", "tip"), ("tip", "tip"), ("x-1", "x-2")):
        assert insertions_of_lines([line("a", labels)], "a")[0] == plain
    for labels in (("Tip", "Entry"), ("target 1", "entry 1")):
        turned = insertions_of_lines([line("a", labels)], "a")[0]
        assert (turned.entry_mm, turned.tip_mm) == (plain.tip_mm, plain.entry_mm)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "no line"),
        ([line("a 1"), line("b 1")], "two lines are numbered 1"),
        ([line("a 0"), line("b 1")], "numbered 0"),
        ([line("a", length_mm=0.5)], "mm long"),
        ([line("a", length_mm=900.0)], "mm long"),
    ],
)
def test_what_is_no_needle_is_refused(lines, said):
    with pytest.raises(CaseError, match=said):
        insertions_of_lines(lines, "a")
