import dataclasses

import numpy as np
from test_body_motion import made_anatomy

from needleplan.anatomy.distance import SurfaceDistance
from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import StructureSurface
from needleplan.case.model import Role
from needleplan.motion.attenuation import TissueMotion
from needleplan.motion.body_fields import _dead_mm, _held_mm, _outside_mm, _spine
from needleplan.motion.chest_wall import is_spine, trunk_axes
from needleplan.motion.lujan import LujanMotion, inhalation_direction


def test_the_distance_outside_is_the_signed_one_where_it_is_above_zero():
    mesh = made_anatomy().surface("liver").mesh
    points = np.random.default_rng(0).uniform(-160.0, 160.0, (4000, 3))
    signed = SurfaceDistance(mesh).signed_distance_mm(points)
    assert (signed < 0).any()
    assert np.array_equal(_outside_mm(SurfaceDistance(mesh), mesh, points), np.maximum(signed, 0.0))
    far = points + 1000.0
    assert _outside_mm(SurfaceDistance(mesh), mesh, far).min() > 500.0


def test_what_lies_in_the_spine_and_about_it_is_held():
    anatomy = made_anatomy()
    trunk = trunk_axes(anatomy)
    distances = {id(s.mesh): SurfaceDistance(s.mesh) for s in anatomy.surfaces}
    low, high = anatomy.entry.mesh.bounds_mm
    patient = np.random.default_rng(1).uniform(low, high, (6000, 3))
    points = trunk.into(patient)
    held = _held_mm(anatomy, trunk, _spine(anatomy, trunk, distances), points)
    up = np.asarray(anatomy.case.up)
    wanted = patient @ up - float((anatomy.entry.mesh.vertices_mm @ up).min())
    spine = anatomy.surface("spine").mesh
    wanted = np.minimum(wanted, np.maximum(SurfaceDistance(spine).signed_distance_mm(patient), 0.0))
    near = SurfaceDistance(spine).distance_mm(patient) < 50.0
    inside = SurfaceDistance(spine).contains(patient)
    assert np.abs(held - np.maximum(wanted - _dead_mm(), 0.0))[near].max() < 1e-4
    assert inside.any() and not held[inside].any()


def test_of_bones_in_one_piece_the_spine_alone_holds():
    """Bone deep within a vertebra rests though it is far from every face; that within a thick rib does not."""
    anatomy = made_anatomy()
    spine, rib = anatomy.surface("spine").mesh, anatomy.surface("rib_right").mesh
    # Wide enough that its middle lies beyond the dead zone from every face.
    wide = SurfaceMesh((spine.vertices_mm - (10.0, 82.0, 50.0)) * (1.2, 1.2, 1.0) + (10.0, 82.0, 50.0), spine.faces)
    both = SurfaceMesh(
        np.concatenate([wide.vertices_mm, rib.vertices_mm]),
        np.concatenate([wide.faces, rib.faces + len(wide.vertices_mm)]),
    )
    bones = StructureSurface("bones", Role.BONE, both, None, np.zeros(len(both.faces), bool), 0.0)
    kept = tuple(s for s in anatomy.surfaces if s.role is not Role.BONE)
    made = dataclasses.replace(anatomy, surfaces=(*kept, bones))
    trunk = trunk_axes(made)
    found = _spine(made, trunk, {id(both): SurfaceDistance(both)})
    assert [one.all_spinal for one in found] == [False]
    points = trunk.into(np.array([[10.0, 82.0, 50.0], [-132.0, 0.0, 60.0]]))
    assert is_spine(points).tolist() == [True, False]
    held = _held_mm(made, trunk, found, points)
    assert held[0] == 0.0 and held[1] > 0.0


def test_the_tree_of_an_organ_is_made_once(monkeypatch):
    from needleplan.anatomy import tree

    made = []

    class Counted(tree.MeshTree):
        def __init__(self, mesh):
            made.append(id(mesh))
            super().__init__(mesh)

    monkeypatch.setattr(tree, "MeshTree", Counted)
    anatomy = made_anatomy()
    tissue = TissueMotion(anatomy, LujanMotion(direction=inhalation_direction(anatomy.case)))
    assert tissue.target_organ == "liver"
    assert made and len(made) == len(set(made))
