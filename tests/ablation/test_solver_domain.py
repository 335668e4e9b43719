"""The box of voxels about needles: where it lies, what it holds, how vessels touch its tissue, what it refuses."""

import numpy as np
import pytest
from placed_needles import AXES, ORIGIN, at

from needleplan.ablation.needle_contact import NeedlePart
from needleplan.ablation.solver_domain import (
    NUSSELT_W_M_K,
    convective_contact,
    isothermal_contact,
    solver_domain,
)
from needleplan.ablation.tissue_map import Cylinder, Region, TissueMap, Vessel, homogeneous
from needleplan.devices.tissues import builtin_tissues
from needleplan.errors import PhysicsError
from needleplan.plan import vector3

LIVER, KIDNEY, BONE = (builtin_tissues().tissue(name) for name in ("liver", "kidney", "bone_cortical"))


def part(start, end, radius=0.7):
    return NeedlePart(vector3(at(start)), vector3(at(end)), radius)


def domain(parts, tissue=None, spacing=2.0, reach=20.0, least=3.0):
    return solver_domain(parts, tissue or homogeneous(LIVER), spacing, reach, least)


def test_the_first_needle_runs_through_centres_along_the_last_axis():
    found = domain([part((0, 0, -20), (0, 0, 0)), part((9.3, 0, -22), (9.3, 0, 1))])
    axes = found.grid.T_PV[:3, :3] / 2.0
    assert axes.T @ axes == pytest.approx(np.eye(3), abs=1e-12)
    assert abs(axes[:, 2] @ AXES[:, 2]) == pytest.approx(1.0, abs=1e-9)
    assert abs(axes[:, 0] @ AXES[:, 0]) == pytest.approx(1.0, abs=1e-9)
    index = found.grid.to_index(at((0, 0, 0)))
    assert index[:2] == pytest.approx(np.rint(index[:2]), abs=1e-9)
    # The reach is kept about every part.
    for place in ((0, 0, -20), (0, 0, 0), (9.3, 0, -22), (9.3, 0, 1)):
        index = found.grid.to_index(at(place))
        assert (index >= 10 - 1e-9).all() and (index <= np.asarray(found.grid.shape) - 11 + 1e-9).all()


def test_needles_from_opposite_sides_are_parallel():
    same = domain([part((0, 0, -20), (0, 0, 0)), part((12, 0, -20), (12, 0, 0))])
    other = domain([part((0, 0, -20), (0, 0, 0)), part((12, 0, 0), (12, 0, -20))])
    assert same.grid.shape == other.grid.shape
    assert same.grid.T_PV == pytest.approx(other.grid.T_PV, abs=1e-9)


def test_tissues_that_do_not_occur_are_left_out():
    far, near = (
        Cylinder((500, 0, 0), (600, 0, 0), 20),
        Cylinder(vector3(at((0, 0, -40))), vector3(at((0, 0, 5))), 6),
    )
    tissue = TissueMap(LIVER, (Region(BONE, far), Region(KIDNEY, near)))
    found = domain([part((0, 0, -20), (0, 0, 0))], tissue)
    assert [one.name for one in found.tissues] == ["liver", "kidney"]
    inside = near.contains(found.grid.centres_mm()).reshape(found.grid.shape)
    assert (found.tissue == inside).all()
    assert found.at(ORIGIN[None]).name == "kidney" and found.at(at((15, 0, 0))[None]).name == "liver"


def test_a_film_is_as_thick_as_the_diameter_says():
    """Conductance of the wall of a vessel through the needles' axes, per length: pi D h of the film alone."""
    for diameter in (4.0, 8.0):
        vessel = Cylinder(vector3(at((11, 0, -60))), vector3(at((11, 0, 60))), 0.5 * diameter)
        tissue = TissueMap(LIVER, vessels=(Vessel("v", vessel, diameter),))
        found = domain([part((0, 0, -20), (0, 0, 0))], tissue, spacing=1.0, reach=22.0)
        film, bare = convective_contact(found, tissue), isothermal_contact(found, tissue)
        assert (film.cells == bare.cells).all()
        assert (film.factors < bare.factors).all()
        # Conductivity times factor times cell: what is left once the way to the wall is taken off is the film.
        k = LIVER.thermal_conductivity_w_m_k
        ways = 1e-3 * (1.0 / film.factors - 1.0 / bare.factors) / k
        per_length = (1e-3 / ways).sum() / found.grid.shape[2]
        transfer = NUSSELT_W_M_K / (1e-3 * diameter)
        assert per_length == pytest.approx(np.pi * 1e-3 * diameter * transfer, rel=0.08)
        assert found.vessels[tuple(film.held.T)].all() and not found.vessels[tuple(film.cells.T)].any()


def test_a_vessel_without_a_stated_diameter_has_nearly_the_same_film():
    vessel = Cylinder(vector3(at((11, 0, -60))), vector3(at((11, 0, 60))), 3.0)
    for_part = [part((0, 0, -20), (0, 0, 0))]
    sums = []
    for stated in (6.0, None):
        tissue = TissueMap(LIVER, vessels=(Vessel("v", vessel, stated),))
        found = domain(for_part, tissue, spacing=1.0, reach=22.0)
        sums.append(convective_contact(found, tissue).factors.sum())
    assert sums[1] == pytest.approx(sums[0], rel=0.1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"spacing": 0.05}, "between 0.1 and 10 mm"),
        ({"spacing": float("nan")}, "between 0.1 and 10 mm"),
        ({"spacing": 11.0, "reach": 90.0}, "between 0.1 and 10 mm"),
        ({"reach": 7.9}, "at least 4 voxels of 2 mm"),
        ({"reach": float("inf")}, "at least 4 voxels"),
        ({"spacing": 0.2, "reach": 60.0}, "take a coarser grid or needles that lie closer together"),
    ],
)
def test_refuses_grids(settings, words):
    with pytest.raises(PhysicsError, match=words) as caught:
        domain([part((0, 0, -20), (0, 0, 0))], **settings)
    assert "\n" not in str(caught.value)


def test_refuses_needles_that_are_nowhere_or_in_blood():
    with pytest.raises(PhysicsError, match="finite numbers of millimetres"):
        domain([NeedlePart((0.0, 0.0, float("nan")), (0.0, 0.0, 1.0), 0.5)])
    lumen = Cylinder(vector3(at((0, 0, -30))), vector3(at((0, 0, 10))), 4.0)
    needle = [part((0, 0, -20), (0, 0, 0))]
    with pytest.raises(PhysicsError, match="lies outside tissue, in the blood of a vessel"):
        domain(needle, TissueMap(LIVER, vessels=(Vessel("v", lumen, 8.0),)))
    # Clamped, thin or only crossed it is no hindrance.
    domain(needle, TissueMap(LIVER, vessels=(Vessel("v", lumen, 8.0, open=False),)))
    domain(needle, TissueMap(LIVER, vessels=(Vessel("v", lumen, 2.0),)))
    across = Cylinder(vector3(at((-30, 0, -10))), vector3(at((30, 0, -10))), 3.0)
    domain(needle, TissueMap(LIVER, vessels=(Vessel("v", across, 6.0),)))
