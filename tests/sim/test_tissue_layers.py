"""Layers along oblique paths through a made patient, against its closed surfaces."""

import numpy as np
import pytest
from made_cases import rotation
from made_patient import CENTRE, ellipsoid, make_anatomy, surface

from needleplan.anatomy.model import Anatomy
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.case.model import Case, PatientPosition, Role, Structure
from needleplan.errors import GeometryError, OptionError
from sim.layered_force import LayeredForce
from sim.tissue_layers import BodyWall, layers_along

AIM = np.array([50.0, -25.0, 120.0])  # in the vein
OUT = np.array([0.35, -0.9, 0.25]) / np.linalg.norm([0.35, -0.9, 0.25])


def shells(*parts, skin=((0.0, 0.0, 0.0), (150.0, 120.0, 200.0))):
    meshes = {("skin", Role.SKIN): ellipsoid(*skin, 24), **{k: ellipsoid(*v, 24) for k, v in parts}}
    case = Case("c", tuple(Structure(n, r, m) for (n, r), m in meshes.items()), PatientPosition.SUPINE, "h")
    surfaces = tuple(surface(s.name, s.role, s.geometry) for s in case.structures)
    return AnatomyQueries(Anatomy(case, surfaces, surfaces[0], np.ones(len(surfaces[0].mesh.faces), dtype=bool)))


def through(centre, axes, entry, way):
    """Depths at which a path passes an ellipsoid."""
    p, q = (entry - np.asarray(centre)) / axes, way / np.asarray(axes)
    a, b, c = q @ q, p @ q, p @ p - 1.0
    root = np.sqrt(b * b - a * c)
    return (-b - root) / a, (-b + root) / a


def test_an_oblique_path_meets_the_layers_where_its_surfaces_lie():
    anatomy = make_anatomy()
    entry = AIM + 90.0 * OUT
    layers = layers_along(AnatomyQueries(anatomy), entry, AIM, beyond_mm=15.0)
    found = [(layer.tissue, layer.membrane, layer.structure) for layer in layers]
    assert found == [
        ("skin", "", ""),
        ("fat", "", ""),
        ("muscle", "muscle fascia", ""),
        ("liver", "liver capsule", "liver"),
        ("blood", "vessel wall", "hepatic vein"),
        ("liver", "vessel wall", "liver"),
    ]
    starts = np.array([layer.start_m for layer in layers]) * 1e3
    liver = through((25.0, -30.0, 105.0), (80.0, 55.0, 70.0), entry, -OUT)
    vein = through((50.0, -25.0, 120.0), (15.0, 4.0, 4.0), entry, -OUT)
    # Faces of a coarse mesh lie a little inside the ellipsoid.
    np.testing.assert_allclose(starts[3:], [liver[0], vein[0], vein[1]], atol=0.5)
    np.testing.assert_allclose(starts[:3], [0.0, 2.0, starts[3] - 10.0], atol=1e-9)
    model = LayeredForce(layers, 1.5e-3)
    assert model.layers == layers


def test_a_target_bulging_out_of_its_organ_and_the_way_out_behind_it():
    queries = shells(
        (("liver", Role.ORGAN), ((10.0, 0.0, 0.0), (60.0, 50.0, 70.0))),
        (("tumour", Role.TARGET), ((10.0, -50.0, 5.0), (12.0, 14.0, 11.0))),
        (("stomach wall", Role.BOWEL), ((10.0, 80.0, 0.0), (40.0, 10.0, 40.0))),
    )
    layers = layers_along(queries, (10.0, -110.0, 5.0), (10.0, 40.0, 3.0), beyond_mm=65.0)
    found = [(layer.tissue, layer.membrane, layer.structure) for layer in layers]
    assert found == [
        ("skin", "", ""),
        ("fat", "", ""),
        ("muscle", "muscle fascia", ""),
        ("tumour", "tumour boundary", "tumour"),
        ("liver", "tumour boundary", "liver"),
        ("fat", "liver capsule", ""),
        ("bowel", "bowel wall", "stomach wall"),
        ("fat", "bowel wall", ""),
    ]
    starts = np.array([layer.start_m for layer in layers]) * 1e3
    np.testing.assert_allclose(starts[3:6], [110 - 64, 110 - 36, 110 + 50], atol=0.7)


def test_layers_move_with_a_moved_patient():
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = rotation(9), (40.0, -70.0, 15.0)
    here, there = make_anatomy(), make_anatomy(turn)
    entry, tip = np.array(CENTRE) + 80.0 * OUT, np.array(CENTRE)
    a = layers_along(AnatomyQueries(here), entry, tip)
    b = layers_along(AnatomyQueries(there), turn[:3, :3] @ entry + turn[:3, 3], turn[:3, :3] @ tip + turn[:3, 3])
    assert len(a) == len(b) > 4 and a[-1].structure != a[0].structure
    for one, other in zip(a, b, strict=True):
        assert (one.tissue, one.membrane, one.structure) == (other.tissue, other.membrane, other.structure)
        assert one.start_m == pytest.approx(other.start_m, abs=1e-9)


def test_the_body_wall_fits_into_what_room_there_is():
    def wall(thickness, **options):
        liver = (("liver", Role.ORGAN), ((0.0, 0.0, 0.0), (60.0, 120.0 - thickness, 70.0)))
        queries = shells(liver, (("t", Role.TARGET), ((0.0, 0.0, 0.0), (5.0, 6.0, 7.0))))
        return layers_along(queries, (0.0, -120.0, 0.0), (0.0, 0.0, 0.0), wall=BodyWall(**options))

    def kinds(layers):
        return [layer.tissue for layer in layers]

    assert kinds(wall(30.0))[:4] == ["skin", "fat", "muscle", "liver"]
    assert kinds(wall(9.0))[:3] == ["skin", "muscle", "liver"]
    assert kinds(wall(1.0))[:2] == ["skin", "liver"]
    assert wall(30.0)[0].membrane == "" and wall(30.0, nicked=False)[0].membrane == "skin surface"
    thick = wall(30.0, muscle_mm=15.0, skin_mm=3.0)
    assert [layer.start_m for layer in thick[:3]] == pytest.approx([0.0, 0.003, 0.015], abs=4e-4)
    # A path that meets nothing goes through skin and fat.
    far = shells((("t", Role.TARGET), ((80.0, 0.0, 0.0), (5.0, 6.0, 7.0))))
    assert kinds(layers_along(far, (0.0, -110.0, 0.0), (0.0, -60.0, 0.0))) == ["skin", "fat"]
    # One that starts in a structure has no wall before it.
    assert kinds(layers_along(far, (80.0, 0.0, 0.0), (80.0, 40.0, 0.0))) == ["tumour", "fat"]


def test_what_is_no_path_is_refused():
    queries = shells((("t", Role.TARGET), ((0.0, 0.0, 0.0), (5.0, 6.0, 7.0))))
    for entry, tip in (((0, 0, 0), (0, 0, 0)), ((0, 0, np.nan), (0, 0, 1)), ((0, 0), (0, 1))):
        with pytest.raises(GeometryError, match="two different points"):
            layers_along(queries, entry, tip)
    with pytest.raises(OptionError, match="0 or more"):
        layers_along(queries, (0, 0, 0), (0, 0, 9), beyond_mm=-1.0)
    for name in ("skin_mm", "muscle_mm"):
        with pytest.raises(OptionError, match=name):
            BodyWall(**{name: 0.0})
