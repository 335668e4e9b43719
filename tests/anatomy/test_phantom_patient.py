"""The built-in patient: plausible, free of overlaps, true to its distances, and the same for the same seed."""

import dataclasses
import itertools

import numpy as np
import pytest

from needleplan.anatomy.phantom import (
    Phantom,
    PhantomParameters,
    TumourParameters,
    TumourShape,
    make_phantom,
    random_parameters,
)
from needleplan.anatomy.phantom_layout import rotation
from needleplan.anatomy.phantom_organs import DIAPHRAGM_MM
from needleplan.anatomy.phantom_sampling import sample
from needleplan.anatomy.phantom_shapes import DistanceKind
from needleplan.anatomy.phantom_vessels import VesselTree
from needleplan.case.model import Case, Role
from needleplan.errors import GeometryError, OptionError

TREES = ("portal", "hepatic")
ADULT_ML = {
    "skin": (17_000, 24_000),
    "liver": (1200, 1800),
    "spleen": (90, 320),
    "kidney_right": (100, 220),
    "kidney_left": (100, 220),
    "gallbladder": (15, 60),
    "stomach": (200, 700),
    "heart": (350, 800),
    "lung_right": (900, 2500),
    "lung_left": (800, 2400),
    "portal_vein": (10, 60),
    "hepatic_veins": (10, 60),
    "tumour": (11.0, 12.0),
}
#: Structures that meet where joints and veins do in life.
JOINED = {frozenset(pair) for pair in itertools.combinations(("ribs", "sternum", "costal_cartilages", "spine"), 2)}
JOINED |= {frozenset(("hepatic_veins", "vena_cava"))}
#: Spacing at which the surfaces follow the closed forms to a quarter of a millimetre.
FINE_MM = {
    "ribs": 1.2,
    "portal_vein": 0.6,
    "hepatic_veins": 0.6,
    "tumour": 1.2,
    "gallbladder": 1.2,
    "vena_cava": 1.2,
}
CONTAINERS = ("skin", "liver")


def build(seed: int = 1, **changes: object) -> Phantom:
    return make_phantom(dataclasses.replace(PhantomParameters(), **changes), np.random.default_rng(seed))


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return build()


@pytest.fixture(scope="module")
def labels(phantom: Phantom) -> Case:
    return phantom.case(voxel_mm=2.0)


@pytest.fixture(scope="module")
def meshes(phantom: Phantom) -> Case:
    return phantom.case(voxel_mm=3.0, form="meshes")


def geometry(case: Case, name: str):  # type: ignore[no-untyped-def]
    return next(s.geometry for s in case.structures if s.name == name)


def centre_lines(tree: VesselTree) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points along all segments, their radii, and whether they count as within the liver."""
    t = np.linspace(0, 1, 9)[None, :, None]
    points = tree.starts_mm[:, None] * (1 - t) + tree.ends_mm[:, None] * t
    radii = tree.radii_mm[:, [0]] * (1 - t[..., 0]) + tree.radii_mm[:, [1]] * t[..., 0]
    return points.reshape(-1, 3), radii.ravel(), np.repeat(tree.within_liver, 9)


def overlaps_ml(phantom: Phantom, voxel_mm: float) -> dict[tuple[str, str], float]:
    grid = phantom.image_grid(voxel_mm)
    seen: dict[str, np.ndarray] = {}
    found = {}
    for item in phantom.structures:
        if item.name in CONTAINERS:
            continue
        inside = sample(item.shape, grid) < 0
        for name, other in seen.items():
            count = np.count_nonzero(inside & other)
            if count:
                found[(name, item.name)] = count * grid.voxel_volume_mm3 / 1000
        seen[item.name] = inside
    return found


def test_volumes_are_those_of_an_adult(labels: Case) -> None:
    for name, (low, high) in ADULT_ML.items():
        assert low <= geometry(labels, name).volume_mm3 / 1000 <= high, name


def test_roles_and_cuts(labels: Case) -> None:
    roles = {s.name: s.role for s in labels.structures}
    assert roles["tumour"] is Role.TARGET and roles["tumour_2"] is Role.ALLOWED
    assert {n for n, r in roles.items() if r is Role.VESSEL} == {
        "portal_vein",
        "hepatic_veins",
        "vena_cava",
        "aorta",
    }
    assert {n for n, r in roles.items() if r is Role.BONE} == {"ribs", "sternum", "costal_cartilages", "spine"}
    assert geometry(labels, "skin").cut_sides == ((False, False), (False, False), (True, True))
    assert geometry(labels, "liver").cut_sides == ((False, False),) * 3


def test_places_in_lps(labels: Case) -> None:
    def centre(name: str) -> np.ndarray:
        mask = geometry(labels, name)
        return mask.grid.to_patient(np.argwhere(mask.inside)).mean(axis=0)

    assert centre("liver")[0] < -20 and centre("kidney_right")[0] < -40 < 40 < centre("kidney_left")[0]
    assert centre("spleen")[0] > 60 and centre("stomach")[0] > 20 and centre("gallbladder")[0] < -20
    assert centre("spine")[1] > centre("aorta")[1] > centre("liver")[1] > centre("sternum")[1]
    assert centre("lung_right")[2] > centre("liver")[2] > centre("colon")[2]


@pytest.mark.parametrize("seed", [1, 5])
def test_structures_do_not_overlap(seed: int) -> None:
    for pair, volume in overlaps_ml(build(seed), 2.5).items():
        assert frozenset(pair) in JOINED, (pair, volume)
        assert volume < 12.0, (pair, volume)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_drawn_patients_do_not_overlap_and_lie_within_their_skin(seed: int) -> None:
    generator = np.random.default_rng(seed)
    patient = make_phantom(random_parameters(generator), generator)
    for pair, volume in overlaps_ml(patient, 3.5).items():
        assert frozenset(pair) in JOINED, (pair, volume)
    grid = patient.image_grid(3.5)
    points = grid.centres_mm()
    for item in patient.structures[1:]:
        inside = points[(sample(item.shape, grid) < 0).ravel()]
        assert patient.distance_mm("skin", inside).max() < -2.0, item.name
    liver = geometry(patient.case(3.5), "liver").volume_mm3 / 1000
    assert 900 <= liver <= 2300


def test_overlap_check_can_fail(phantom: Phantom) -> None:
    moved = [
        dataclasses.replace(item, shape=item.shape.grown(6.0)) if item.name == "liver" else item
        for item in phantom.structures
    ]
    grown = dataclasses.replace(phantom, structures=tuple(moved))
    grid = phantom.image_grid(3.0)
    lung = sample(grown.structure("lung_right").shape, grid) < 0
    assert (lung & (sample(grown.structure("liver").shape, grid) < 0)).any()


def test_lung_wraps_the_liver_dome_at_the_thickness_of_the_diaphragm(phantom: Phantom, meshes: Case) -> None:
    liver, lung = geometry(meshes, "liver"), geometry(meshes, "lung_right")
    gap = phantom.distance_mm("lung_right", liver.vertices_mm)
    assert gap.min() >= DIAPHRAGM_MM - 1e-3
    dome = liver.vertices_mm[np.argmax(liver.vertices_mm[:, 2])]
    above = dome + np.array([[0.0, 0.0, DIAPHRAGM_MM + 6.0]])
    assert phantom.distance_mm("lung_right", above)[0] < 0
    assert lung.vertices_mm[:, 2].min() < dome[2] - 30  # the recess beside the dome


def test_ribs_lie_between_skin_and_lungs_and_liver(phantom: Phantom, meshes: Case) -> None:
    ribs = geometry(meshes, "ribs").vertices_mm
    assert phantom.distance_mm("skin", ribs[np.abs(ribs[:, 2]) < 149]).max() < -5.0
    for organ in ("lung_right", "lung_left", "liver", "spleen"):
        assert phantom.distance_mm(organ, ribs).min() > 0.5


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("seed", [1, 2])
def test_vessel_trees_are_connected_and_obey_murray(name: str, seed: int) -> None:
    tree: VesselTree = getattr(build(seed), name)
    assert len(tree.starts_mm) > 100
    roots = np.flatnonzero(tree.parents < 0)
    assert len(roots) == (1 if name == "portal" else 3)
    children: dict[int, list[int]] = {}
    for k, parent in enumerate(tree.parents):
        if parent >= 0:
            assert parent < k
            assert tree.starts_mm[k] == pytest.approx(tree.ends_mm[parent])
            children.setdefault(int(parent), []).append(k)
    assert max(len(c) for c in children.values()) == 2
    assert sum(len(c) == 2 for c in children.values()) > 20
    for parent, below in children.items():
        assert tree.radii_mm[parent, 1] ** 3 == pytest.approx((tree.radii_mm[below, 0] ** 3).sum(), rel=5e-3)
    assert (tree.radii_mm[:, 1] <= tree.radii_mm[:, 0] + 1e-9).all()


@pytest.mark.parametrize("seed", [1, 2])
def test_vessels_stay_in_the_liver_and_apart(seed: int) -> None:
    patient = build(seed)
    for name in TREES:
        points, radii, within = centre_lines(getattr(patient, name))
        assert (patient.distance_mm("liver", points)[within] <= -radii[within]).all()
        assert within.mean() > 0.85
    points, radii, _ = centre_lines(patient.hepatic)
    assert (patient.distance_mm("portal_vein", points) - radii).min() > 0.2
    reach = [patient.distance_mm(n, _inside(patient, "liver", 2000)) for n in ("portal_vein", "hepatic_veins")]
    assert max(np.median(values) for values in reach) < 20.0  # they branch through all of the liver


def _inside(patient: Phantom, name: str, count: int) -> np.ndarray:
    low, high = patient.structure(name).shape.bounds_mm
    points = np.random.default_rng(0).uniform(low, high, (20 * count, 3))
    return points[patient.distance_mm(name, points) < 0][:count]


def test_vessels_hang_on_the_great_veins(phantom: Phantom) -> None:
    for root in np.flatnonzero(phantom.hepatic.parents < 0):
        assert phantom.distance_mm("vena_cava", phantom.hepatic.starts_mm[root])[0] < 0
    assert not phantom.portal.within_liver[0] and not phantom.hepatic.within_liver[0]


@pytest.mark.parametrize("form", list(TumourShape))
def test_tumours_lie_in_the_liver_where_they_were_asked_for(form: TumourShape) -> None:
    wish = TumourParameters(radius_mm=10.0, shape=form, capsule_depth_mm=(3.0, 9.0), vessel_gap_mm=(2.0, 7.0))
    patient = build(4, tumours=(wish,), portal_generations=0, hepatic_generations=0)
    tumour = patient.surface("tumour", 2.0).vertices_mm
    depth = -patient.distance_mm("liver", tumour).max()
    gap = min(patient.distance_mm(n, tumour).min() for n in ("portal_vein", "hepatic_veins"))
    assert 2.7 < depth < 9.5  # the ranges are checked at 300 points of the surface
    assert 1.7 < gap < 7.5
    assert patient.surface("tumour", 0.7).volume_mm3 == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.03)
    finer = build(4, tumours=(wish,))
    assert min(finer.distance_mm(n, tumour).min() for n in ("portal_vein", "hepatic_veins")) > 1.5


def test_target_index_chooses_the_target() -> None:
    patient = build(1, target_index=1)
    assert patient.distance_mm("tumour_2", [-92.0, -14.0, -16.0]) == pytest.approx(-14.0)
    assert patient.structure("tumour").role is Role.TARGET


def test_closed_form_of_the_sphere(phantom: Phantom) -> None:
    points = np.random.default_rng(0).uniform(-150, 150, (1000, 3))
    assert phantom.distance_kind("tumour") is DistanceKind.EXACT
    expected = np.linalg.norm(points - [-92.0, -14.0, -16.0], axis=1) - 14.0
    assert phantom.distance_mm("tumour", points) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", FINE_MM)
def test_closed_forms_against_an_exact_engine(phantom: Phantom, name: str) -> None:
    import open3d as o3d

    mesh = phantom.surface(name, FINE_MM[name])
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        o3d.core.Tensor(np.asarray(mesh.vertices_mm, np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32))
    )
    low, high = mesh.bounds_mm
    points = np.random.default_rng(3).uniform(low - 10, high + 10, (4000, 3))
    points = points[np.abs(points[:, 2]) < 100]
    true = scene.compute_distance(o3d.core.Tensor(points.astype(np.float32))).numpy()
    found = phantom.distance_mm(name, points)
    assert phantom.distance_kind(name) is not DistanceKind.BOUND
    outside = (found > 0) & (found < 45)  # beyond that the cut ends of a clipped mesh may be nearer
    assert outside.sum() > 500
    assert found[outside] == pytest.approx(true[outside], abs=0.25)
    assert (-found[found < 0] <= true[found < 0] + 0.25).all()


def test_bounds_hold_on_the_meshes_of_the_organs(phantom: Phantom, meshes: Case) -> None:
    import open3d as o3d

    points = np.random.default_rng(8).uniform((-170, -120, -110), (170, 120, 110), (4000, 3))
    for name in ("liver", "lung_right", "kidney_left", "stomach", "colon", "heart", "spine", "spleen"):
        mesh = geometry(meshes, name)
        scene = o3d.t.geometry.RaycastingScene()
        scene.add_triangles(
            o3d.core.Tensor(np.asarray(mesh.vertices_mm, np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32))
        )
        true = scene.compute_distance(o3d.core.Tensor(points.astype(np.float32))).numpy()
        found = phantom.distance_mm(name, points)
        near = true < 35  # farther off the clipped mesh ends before the anatomy does
        assert (np.abs(found) <= true + 1.0)[near].all(), name  # triangles of 3 mm cut creases by up to 1 mm
        occupied = scene.compute_occupancy(o3d.core.Tensor(points.astype(np.float32))).numpy() > 0
        clear = true > 1.0
        assert (occupied == (found < 0))[clear].all(), name


def test_meshes_are_closed_and_on_the_zero_set(phantom: Phantom, meshes: Case) -> None:
    for item in meshes.structures:
        mesh = item.geometry
        assert mesh.is_watertight and mesh.volume_mm3 > 0, item.name
        within = np.abs(mesh.vertices_mm[:, 2]) < 150 - 2e-3
        values = np.abs(phantom.distance_mm(item.name, mesh.vertices_mm[within]))
        assert np.quantile(values, 0.999) < 1e-3, item.name
        assert values.max() < 0.5, item.name
        assert np.abs(mesh.vertices_mm[:, 2]).max() < 150 + 2e-3


def test_labels_and_meshes_agree(labels: Case, meshes: Case) -> None:
    for name in ("liver", "kidney_right", "lung_left", "stomach", "tumour", "aorta", "gallbladder", "skin"):
        voxels, mesh = geometry(labels, name), geometry(meshes, name)
        # A mesh of 3 mm triangles lies within a ball of 14 mm by up to 4 % of its volume.
        assert mesh.volume_mm3 == pytest.approx(voxels.volume_mm3, rel=0.045), name
        low = voxels.grid.to_patient(np.zeros(3)) - 1.0
        assert (np.abs(mesh.bounds_mm[0] - low) < 2.0).all(), name


@pytest.mark.long
def test_labels_agree_with_the_distances(phantom: Phantom, labels: Case) -> None:
    for name in ("lung_right", "colon", "tumour", "tumour_2", "portal_vein", "spleen"):
        mask = geometry(labels, name)
        inside = phantom.distance_mm(name, mask.grid.centres_mm()).reshape(mask.grid.shape) < 0
        assert (inside == mask.inside).all(), name


def test_liver_holds_its_vessels_and_tumours(labels: Case) -> None:
    liver = geometry(labels, "liver")
    for name, share in (("tumour", 1.0), ("tumour_2", 1.0), ("portal_vein", 0.7), ("hepatic_veins", 0.85)):
        mask = geometry(labels, name)
        assert liver.contains(mask.grid.to_patient(np.argwhere(mask.inside))).mean() >= share


def test_same_seed_same_patient_and_another_seed_another() -> None:
    first, again, other = build(3), build(3), build(4)
    assert first.case(4.0).content_hash == again.case(4.0).content_hash
    assert np.array_equal(first.surface("liver", 4.0).vertices_mm, again.surface("liver", 4.0).vertices_mm)
    assert first.portal.starts_mm.shape != other.portal.starts_mm.shape or not np.array_equal(
        first.portal.ends_mm, other.portal.ends_mm
    )
    assert first.case(4.0).content_hash != other.case(4.0).content_hash
    assert first.name != other.name != build(4, rib_pair_count=9).name


def test_mirrored_patient_has_mirrored_answers(phantom: Phantom) -> None:
    mirrored = build(mirrored=True)
    points = np.random.default_rng(6).uniform(-160, 160, (3000, 3))
    for item in phantom.structures:
        here = phantom.distance_mm(item.name, points)
        there = mirrored.distance_mm(item.name, points * [-1, 1, 1])
        assert there == pytest.approx(here, abs=1e-6), item.name
    case, other = phantom.case(3.7), mirrored.case(3.7)  # no voxel centre lies on a surface
    for name in ("liver", "tumour", "lung_right", "ribs"):
        assert np.array_equal(geometry(other, name).inside, geometry(case, name).inside[::-1]), name
    surface = mirrored.surface("liver", 5.0)
    assert surface.volume_mm3 > 0 and surface.vertices_mm[:, 0].mean() > 20


def test_oblique_anisotropic_image_shows_the_same_patient(phantom: Phantom, labels: Case) -> None:
    turn = rotation((14.0, -9.0, 25.0))
    case = phantom.case(voxel_mm=(1.6, 2.4, 3.1), image_rotation=turn)
    for name in ("liver", "tumour", "kidney_left", "spleen", "gallbladder"):
        here, there = geometry(case, name), geometry(labels, name)
        assert here.volume_mm3 == pytest.approx(there.volume_mm3, rel=0.03), name
        centres = [m.grid.to_patient(np.argwhere(m.inside)).mean(axis=0) for m in (here, there)]
        assert np.linalg.norm(centres[0] - centres[1]) < 0.3, name
        assert here.grid.T_PV[:3, :3] / here.grid.spacing_mm == pytest.approx(turn, abs=1e-6)
    assert geometry(case, "skin").cut_sides == ((False, False), (False, False), (True, True))


def test_oblique_meshes_end_at_the_oblique_slices(phantom: Phantom) -> None:
    turn = rotation((14.0, -9.0, 25.0))
    mesh = phantom.surface("skin", 5.0, turn)
    along = mesh.vertices_mm @ turn[:, 2]
    assert along.min() == pytest.approx(-150, abs=1e-2) and along.max() == pytest.approx(150, abs=1e-2)
    assert mesh.is_watertight


def test_body_size_carries_over() -> None:
    large = build(1, body_width_mm=400.0, body_depth_mm=290.0, body_height_mm=330.0)
    small = build(1, body_width_mm=300.0, body_depth_mm=210.0, body_height_mm=270.0)
    for patient in (large, small):
        p = patient.parameters
        size = np.ptp(patient.surface("skin", 5.0).vertices_mm, axis=0)
        assert size == pytest.approx([p.body_width_mm, p.body_depth_mm, p.body_height_mm], rel=0.04)
    volumes = [geometry(patient.case(3.0), "liver").volume_mm3 for patient in (large, small)]
    assert volumes[0] > 1.5 * volumes[1]


def test_counts_of_bones() -> None:
    from scipy.ndimage import label

    few = build(1, rib_pair_count=3, vertebra_count=5, organ_variation=0.0)
    mask = geometry(few.case(2.0), "ribs")
    assert label(mask.inside)[1] == 6
    top = few.structure("spine").shape.bounds_mm[1, 2]
    assert top < PhantomParameters().body_height_mm / 2 - 150


@pytest.mark.long
def test_drawn_parameters_vary_and_all_make_a_patient() -> None:
    radii, names = [], set()
    for seed in range(8):
        generator = np.random.default_rng(seed)
        parameters = random_parameters(generator)
        patient = make_phantom(parameters, generator)
        radii.append(parameters.tumours[0].radius_mm)
        names.add(patient.name)
        assert patient.distance_mm("liver", _inside(patient, "tumour", 200)).max() < 0
    assert np.ptp(radii) > 5 and len(names) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"body_width_mm": float("nan")}, "body_width_mm must be a number from 250 to 480"),
        ({"rib_pair_count": 11}, "rib_pair_count must be a number from 1 to 10"),
        ({"vertebra_count": 2.5}, "vertebra_count must be a whole number"),
        ({"tumours": ()}, "at least one TumourParameters"),
        ({"target_index": 2}, "one of the 2 tumours"),
    ],
)
def test_impossible_parameters_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        dataclasses.replace(PhantomParameters(), **changes)


@pytest.mark.parametrize(
    ("tumour", "message"),
    [
        (TumourParameters(centre_mm=(90.0, 0.0, 0.0)), "inside the liver"),
        (TumourParameters(centre_mm=(-33.0, -12.0, -24.0)), "off main vessels"),
        (TumourParameters(radius_mm=20.0, capsule_depth_mm=(50.0, 60.0)), "no place in this liver"),
    ],
)
def test_tumour_without_a_place_is_refused(tumour: TumourParameters, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        build(tumours=(tumour,))


def test_impossible_tumours_and_images_are_refused(phantom: Phantom) -> None:
    with pytest.raises(OptionError, match="radius_mm must be a number from 2 to 45"):
        TumourParameters(radius_mm=0.0)
    with pytest.raises(OptionError, match="low <= high"):
        TumourParameters(capsule_depth_mm=(9.0, 3.0))
    with pytest.raises(OptionError, match="three finite numbers"):
        TumourParameters(centre_mm=(0.0, 0.0, float("inf")))
    with pytest.raises(OptionError, match=r"0\.3 to 10 mm"):
        phantom.case(voxel_mm=0.0)
    with pytest.raises(OptionError, match="proper 3x3 rotation"):
        phantom.case(image_rotation=np.diag([-1.0, 1, 1]))
    with pytest.raises(OptionError, match="labels, meshes"):
        phantom.case(form="mesh")
    with pytest.raises(GeometryError, match="there are skin, ribs"):
        phantom.distance_mm("pancreas", np.zeros(3))
