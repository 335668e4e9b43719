"""What the benchmark of needle paths measures with: the brute force, the scene, and the count of wrong answers."""

import builtins

import numpy as np
import pytest
from brute_force import distances_mm, wrong_answers
from made_cases import ball, box
from path_peers import make_peers
from path_scene import BODY_MM, LONGEST_PATH_MM, TARGET_MM, TARGET_RADIUS_MM, make_scene


@pytest.fixture(scope="module")
def scene():
    return make_scene(30, 10, 4)


def test_brute_force_knows_closed_forms():
    cube = box((-10, -10, -10), (10, 10, 10))
    start = np.array([[0.0, 0, 30], [0, 0, 30], [15, 15, 0], [-40, 13, 14], [20, 0, 0], [0, 0, 0], [30, 0, 9]])
    end = np.array([[0.0, 0, 20], [0, 0, -30], [15, 15, 5], [40, 13, 14], [20, 0, 0], [1, 0, 0], [10, 0, 9]])
    expected = [10, 0, np.hypot(5, 5), 5, 10, 9, 0]
    np.testing.assert_allclose(distances_mm(cube, start, end), expected, atol=1e-12)
    np.testing.assert_allclose(distances_mm([cube, cube], start, end, 6.0)[:, 1], np.minimum(expected, 6.0))


def test_no_pair_is_left_out_because_of_the_spheres():
    """A cap of the least distance known leaves pairs out; none at all are left out where each face stands alone."""
    mesh = ball((4, -3, 2), 1.0, 2, (30.0, 12.0, 21.0))
    rng = np.random.default_rng(0)
    start, end = rng.uniform(-50, 50, (2, 60, 3))
    alone = [type(mesh)(mesh.vertices_mm, mesh.faces[k : k + 1]) for k in range(len(mesh.faces))]
    np.testing.assert_array_equal(distances_mm(mesh, start, end), distances_mm(alone, start, end).min(axis=1))


def test_wrong_answers_are_counted_and_ties_are_not():
    distance = np.array([[5.0, 9], [3.0, 4.0], [2.9, 9.0], [5.0, 3.9], [3.0 - 1e-12, 9.0], [0.0, 0.0]])
    demanded = np.array([3.0, 4.0])
    right = np.array([True, True, False, False, False, False])
    assert wrong_answers(right, distance, demanded) == 0
    # The two that lie on the limit may be answered either way; the others may not.
    for row, count in enumerate((1, 0, 1, 1, 0, 1)):
        answers = right.copy()
        answers[row] ^= True
        assert wrong_answers(answers, distance, demanded) == count
    assert wrong_answers(~right, distance, demanded) == 4


def test_scene_is_what_its_description_says():
    whole = make_scene(5, 4)
    assert [len(mesh.faces) for mesh in whole.meshes] == [20_000] * 5
    scene = make_scene(40, 25, 4)
    assert scene.entry_mm.shape == scene.tip_mm.shape == (1000, 3)
    assert len(np.unique(scene.entry_mm, axis=0)) == 40 and len(np.unique(scene.tip_mm, axis=0)) == 25
    assert (scene.entry_mm[:25] == scene.entry_mm[0]).all()
    np.testing.assert_allclose(((scene.entry_mm / BODY_MM) ** 2).sum(axis=1), 1.0)
    assert (np.linalg.norm(scene.entry_mm - TARGET_MM, axis=1) < LONGEST_PATH_MM).all()
    assert (np.linalg.norm(scene.tip_mm - TARGET_MM, axis=1) <= TARGET_RADIUS_MM).all()
    for mesh in scene.meshes:
        assert mesh.is_watertight and mesh.volume_mm3 > 0
        # Inside the body and outside the target.
        assert (((mesh.vertices_mm / BODY_MM) ** 2).sum(axis=1) < 1).all()
        assert distances_mm(mesh, TARGET_MM[None], TARGET_MM[None])[0] > TARGET_RADIUS_MM
    distance = distances_mm(list(scene.meshes), scene.entry_mm, scene.tip_mm, 11.05)
    # Every structure stands in the way of some and lets most by.
    fails = (distance < scene.demanded_mm).mean(axis=0)
    assert (fails > 0.03).all() and (fails < 0.6).all()


def test_peers_answer_the_same_question(scene):
    truth = distances_mm(list(scene.meshes), scene.entry_mm, scene.tip_mm)
    peers, missing = make_peers(scene, 10.0)
    names = [peer.name for peer in peers]
    assert {"open3d", "vtk", "open3d sampled"} <= set(names) and len(set(names)) == len(names)
    assert all(sentence.split()[0] in ("embreex", "python-fcl") for sentence in missing)
    hit = (truth == 0).any(axis=1)
    for peer in peers:
        if peer.keeps_clear is not None:
            clear = peer.keeps_clear(scene.entry_mm, scene.tip_mm)
            if peer.name in ("open3d", "vtk", "embreex"):
                # A ray meets what the axis crosses, but for single precision at an edge.
                assert np.count_nonzero(clear == hit) <= 1
            else:
                assert wrong_answers(clear, truth, scene.demanded_mm, 0.3) == 0
        if peer.clearance_mm is not None:
            found = np.clip(peer.clearance_mm(scene.entry_mm[::10], scene.tip_mm[::10]), 0, 10)
            np.testing.assert_allclose(found, np.clip(truth[::10] - scene.radius_mm, 0, 10), atol=1.05)


def test_a_missing_peer_is_left_out_with_a_sentence(scene, monkeypatch):
    real_import = builtins.__import__

    def without(name, *others, **more):
        if name in ("fcl", "embreex"):
            raise ImportError(f"No module named {name!r}")
        return real_import(name, *others, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    peers, missing = make_peers(scene, 10.0)
    assert [peer.name for peer in peers] == ["open3d", "vtk", "open3d sampled"]
    assert len(missing) == 2 and all("not installed" in sentence for sentence in missing)
