import numpy as np
import pytest

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import Anatomy, StructureSurface
from needleplan.case.model import Case, PatientPosition, Role, Structure
from needleplan.frames import FloatArray
from needleplan.motion.attenuation import SKIN_RISE, TissueMotion
from needleplan.motion.lujan import LujanMotion, inhalation_direction


def _ball(centre: tuple[float, float, float], axes: tuple[float, float, float]) -> SurfaceMesh:
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=3)
    return SurfaceMesh(np.asarray(sphere.vertices) * axes + centre, np.asarray(sphere.faces))


def _built(structures: tuple[Structure, ...], move: FloatArray | None) -> Anatomy:
    """The anatomy of structures as they are, the first of which is the skin, moved as a whole."""
    case = Case("c", structures, PatientPosition.SUPINE, "")
    case = case if move is None else case.moved(move)
    surfaces = tuple(
        StructureSurface(s.name, s.role, s.geometry, None, np.zeros(len(s.geometry.faces), dtype=bool), 0.0)  # type: ignore[union-attr, arg-type]
        for s in case.structures
    )
    return Anatomy(case, surfaces, surfaces[0], np.ones(len(surfaces[0].mesh.faces), dtype=bool))


def _anatomy(move: FloatArray | None = None, organ: bool = True) -> Anatomy:
    meshes = {
        ("body", Role.SKIN): _ball((10.0, 0.0, 50.0), (160.0, 110.0, 250.0)),
        ("liver", Role.ORGAN): _ball((-40.0, -20.0, 60.0), (70.0, 50.0, 60.0)),
        ("spleen", Role.ORGAN): _ball((90.0, 30.0, 60.0), (20.0, 25.0, 30.0)),
        ("lesion", Role.TARGET): _ball((-55.0, -25.0, 65.0), (12.0, 10.0, 14.0)),
        ("portal vein", Role.VESSEL): _ball((-30.0, -15.0, 50.0), (20.0, 5.0, 5.0)),
        ("aorta", Role.VESSEL): _ball((20.0, 45.0, 60.0), (9.0, 9.0, 150.0)),
        ("Kidney_left", Role.CRITICAL): _ball((75.0, 50.0, 20.0), (20.0, 20.0, 40.0)),
        ("pancreas", Role.CRITICAL): _ball((40.0, -10.0, 20.0), (30.0, 10.0, 10.0)),
        ("gallbladder", Role.CRITICAL): _ball((-45.0, -55.0, 20.0), (8.0, 8.0, 15.0)),
        ("heart", Role.CRITICAL): _ball((50.0, -40.0, 170.0), (35.0, 30.0, 35.0)),
        ("spine", Role.BONE): _ball((10.0, 80.0, 50.0), (15.0, 15.0, 200.0)),
    }
    if not organ:
        del meshes[("liver", Role.ORGAN)]
    structures = tuple(Structure(name, role, mesh) for (name, role), mesh in meshes.items())
    return _built(structures, move)


def test_shares_by_organ_name_and_role() -> None:
    tissue = TissueMotion(_anatomy(), LujanMotion())
    assert tissue.target_organ == "liver"
    shares = {name: share.fraction for name, share in tissue.shares.items()}
    assert shares == {
        "body": 0.25, "liver": 1.0, "spleen": 1.0, "lesion": 1.0, "portal vein": 1.0, "aorta": 0.2,
        "Kidney_left": 0.65, "pancreas": 0.97, "gallbladder": 1.0, "heart": 0.65, "spine": 0.0,
    }  # fmt: skip
    # Nobody may take an assumption for a measurement.
    for share in tissue.shares.values():
        assert any(word in share.source for word in ("assumption", "et al.", "by definition", "region"))


def test_without_an_organ_nothing_moves_like_the_target_but_the_target() -> None:
    tissue = TissueMotion(_anatomy(organ=False), LujanMotion())
    assert tissue.target_organ is None
    assert tissue.shares["lesion"].fraction == 1.0 and tissue.shares["portal vein"].fraction == 0.2


def test_structures_move_by_their_share_of_the_target() -> None:
    motion = LujanMotion(12.0, 4.0, 1, 0.0)
    tissue = TissueMotion(_anatomy(), motion)
    times = np.array([0.0, 0.7, 2.0])
    assert tissue.target_mm(times) == pytest.approx(motion.displacement_mm(times))
    assert tissue.structure_mm("Kidney_left", times) == pytest.approx(0.65 * motion.displacement_mm(times))
    assert not tissue.structure_mm("spine", times).any()


def test_the_skin_rises_in_front_and_rests_on_the_table() -> None:
    tissue = TissueMotion(_anatomy(), LujanMotion())
    points = np.array([[10.0, -110.0, 50.0], [0.0, -55.0, 20.0], [0.0, 0.0, 50.0], [0.0, 100.0, 50.0]])
    assert tissue.skin_share(points) == pytest.approx([1.0, 0.5, 0.0, 0.0], abs=1e-9)
    moved = tissue.skin_mm(points, (1.0, -4.0, -10.0))
    expected = np.zeros((4, 3))
    expected[:, 1] = -SKIN_RISE * 10.0 * np.array([1.0, 0.5, 0.0, 0.0])
    assert moved == pytest.approx(expected, abs=1e-9)
    assert not tissue.skin_mm(points, (0.0, 0.0, 0.0)).any()


def test_the_skin_follows_a_moved_patient() -> None:
    from scipy.spatial.transform import Rotation

    move = np.eye(4)
    move[:3, :3] = Rotation.from_rotvec([0.3, 0.9, -1.2]).as_matrix()
    move[:3, 3] = (50.0, -20.0, 9.0)
    here, there = _anatomy(), _anatomy(move)
    point = np.array([30.0, -80.0, 40.0])
    found = []
    for anatomy, where in ((here, point), (there, move[:3, :3] @ point + move[:3, 3])):
        motion = LujanMotion(14.0, 4.0, 2, 0.0, inhalation_direction(anatomy.case))
        tissue = TissueMotion(anatomy, motion)
        assert tissue.target_organ == "liver"
        found.append(tissue.skin_mm(where, tissue.target_mm(0.0)))
    assert found[1] == pytest.approx(move[:3, :3] @ found[0], abs=1e-9)
    assert np.linalg.norm(found[0]) > 1.0


def _with_regions(move: FloatArray | None = None) -> Anatomy:
    """Regions of role allowed in the target's organ, in another, and in none."""
    base = _anatomy()
    regions = {
        "lesion_2": _ball((-20.0, -10.0, 75.0), (9.0, 7.0, 8.0)),
        "cyst": _ball((75.0, 50.0, 30.0), (8.0, 9.0, 7.0)),
        "fat": _ball((110.0, -30.0, -60.0), (9.0, 9.0, 9.0)),
    }
    structures = (*base.case.structures, *(Structure(n, Role.ALLOWED, m) for n, m in regions.items()))
    structures = (*structures, Structure("keep_out", Role.NO_GO, _ball((-60.0, -10.0, 40.0), (9.0, 7.0, 8.0))))
    return _built(structures, move)


def test_what_an_organ_holds_moves_with_it_and_other_regions_rest() -> None:
    tissue = TissueMotion(_with_regions(), LujanMotion())
    assert tissue.holders == {"lesion_2": "liver", "cyst": "Kidney_left"}
    shares = {name: tissue.shares[name].fraction for name in ("lesion_2", "cyst", "fat", "keep_out")}
    assert shares == {"lesion_2": 1.0, "cyst": 0.65, "fat": 0.0, "keep_out": 0.0}
    assert "assumption" in tissue.shares["cyst"].source
    assert TissueMotion(_anatomy(), LujanMotion()).holders == {}
