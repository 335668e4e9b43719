"""Structures of a case become tissues and vessels of the zone models."""

import numpy as np
import pytest

from needleplan.ablation.patient_tissue import patient_tissue
from needleplan.anatomy.build import build_anatomy
from needleplan.anatomy.phantom import PhantomParameters, make_phantom
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.errors import DeviceError
from needleplan.grid import Grid


@pytest.fixture(scope="module")
def queries():
    return AnatomyQueries(build_anatomy(make_phantom(PhantomParameters(), np.random.default_rng(1)).case(4.0)))


def centre(queries, name):
    return queries.anatomy.surface(name).mesh.vertices_mm.mean(axis=0)


def names_at(tissue, points):
    return [tissue.tissues[index].name for index in tissue.indices(np.asarray(points))]


def test_each_structure_is_the_tissue_of_its_role_and_name(queries):
    tissue = patient_tissue(queries, tumour="CRLM")
    points = [centre(queries, name) for name in ("tumour", "kidney_right", "spleen", "lung_right", "stomach")]
    assert names_at(tissue, points) == ["CRLM", "kidney", "spleen", "lung_inflated", "bowel"]
    assert tissue.background.name == "muscle"
    # The tumour lies over the liver that holds it.
    beside = np.add(centre(queries, "tumour"), [0.0, 0.0, 35.0])
    inside = queries.tree(queries.anatomy.surface("liver")).contains(beside[None])[0]
    assert names_at(tissue, [beside]) == ["liver" if inside else "muscle"]


def test_vessels_are_vessels_and_a_thrombosed_one_carries_nothing_away(queries):
    tissue = patient_tissue(queries, tumour="HCC")
    assert {vessel.name for vessel in tissue.vessels} >= {"portal_vein", "hepatic_veins", "vena_cava"}
    middle = centre(queries, "vena_cava")
    matrix = np.eye(4)
    matrix[:3, 3] = middle - 12.0
    grid = Grid((25, 25, 25), matrix)
    flowing = tissue.vessel_voxels(grid)
    shut = patient_tissue(queries, tumour="HCC", named={"vena_cava": "thrombosed"}).vessel_voxels(grid)
    assert flowing.sum() > 500
    assert shut.sum() < 0.2 * flowing.sum()


def test_names_overrule_and_wrong_ones_are_refused(queries):
    tissue = patient_tissue(queries, tumour="HCC", named={"liver": "liver_cirrhotic", "gallbladder": "bile"})
    assert names_at(tissue, [centre(queries, "gallbladder")]) == ["bile"]
    assert "liver_cirrhotic" in {one.name for one in tissue.tissues}
    for tumour, named, word in (
        ("cheese", {}, "cheese"),
        ("HCC", {"no such thing": "liver"}, "no such thing"),
        ("HCC", {"liver": "cheese"}, "cheese"),
    ):
        with pytest.raises(DeviceError, match=word) as caught:
            patient_tissue(queries, tumour, named)
        assert "\n" not in str(caught.value)
