"""The skin map as a picture: sides, colours, numbers and shares."""

import dataclasses

import numpy as np
import pytest

from needleplan.errors import OptionError
from needleplan.trajectory.skin_map import SkinMap
from needleplan.viz.palette import SKIN_BLOCKED, SKIN_NOT_EXAMINED, rgb
from needleplan.viz.skin_map import render_skin_map
from needleplan.viz.skin_paint import paint_skin

NAMES = ("usable length", "table side", *(f"clearance to thing_{k}" for k in range(9)))


def map_of(entry_mm, blocked_by, cost=0.0, names=NAMES):
    """A skin map whose entries are blocked by the named index, or open at -1."""
    blocked_by = np.asarray(blocked_by)
    count = len(blocked_by)
    is_open = blocked_by < 0
    return SkinMap(
        names, ("mm",) * len(names), entry_mm, np.ones(count), is_open, np.where(is_open, cost, 0.0),
        np.where(is_open, np.arange(count), -1), blocked_by, np.zeros((count, len(names))),
    )  # fmt: skip


@pytest.fixture(scope="module")
def entries(patient):
    return patient.entry.mesh.face_centres_mm[::9]


def shares(pixels, color, tolerance=0.18):
    """Share of pixels whose hue is that of a colour, whatever the light."""
    seen = pixels.reshape(-1, 3).astype(float)
    bright = seen.max(axis=1) > 45
    wanted = np.array(rgb(color))
    unit = seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1)
    near = np.linalg.norm(unit - wanted / np.linalg.norm(wanted), axis=1) < tolerance
    return float((near & bright).sum() / max(bright.sum(), 1))


def blue(pixels):
    """Share of the lit pixels that have the blue of a score."""
    seen = pixels.reshape(-1, 3).astype(int)
    lit = seen.max(axis=1) > 45
    return float((lit & (seen[:, 2] - seen[:, 0] > 25)).sum() / lit.sum())


def test_each_side_shows_what_blocks_it(patient, entries):
    # Open at the patient's right (-x), blocked by two constraints in front (-y) and behind at the left.
    cause = np.where(entries[:, 0] < 0, -1, np.where(entries[:, 1] < 0, 1, 3))
    skin = map_of(entries, cause, cost=1.0 + 0.01 * entries[:, 2])
    painted = paint_skin(patient, skin)
    assert painted.open_share == pytest.approx(0.5, abs=0.03)
    assert {p.label for p in painted.patches} == {"table side", "thing 1"}
    assert [p.number for p in painted.patches] == [1, 2]
    assert sum(p.share for p in painted.patches) + painted.open_share == pytest.approx(1.0)
    image = render_skin_map(patient, skin, size=(1000, 720))
    assert image.shape == (720, 1000, 3) and image.dtype == np.uint8
    front, right, left, behind = (
        image[60:370, :400], image[60:370, 400:800], image[380:680, :400], image[380:680, 400:800],
    )  # fmt: skip
    colors = {p.label: p.color for p in painted.patches}
    # The patient's right is at the left of the view from the front, and free of blocked skin there.
    assert (
        shares(front[:, 40:180], colors["table side"])
        < 0.05
        < 0.5
        < shares(front[:, 230:360], colors["table side"])
    )
    assert blue(right) > 0.6 and blue(left) < 0.1
    assert shares(right, colors["table side"]) < 0.05
    assert shares(left, colors["table side"]) > 0.2 and shares(left, colors["thing 1"]) > 0.2
    assert shares(behind[:, 40:180], colors["thing 1"]) > 0.5 and blue(behind[:, 40:180]) < 0.1
    assert blue(behind[:, 230:360]) > 0.6


def test_better_paths_are_brighter_and_the_target_is_seen(patient, entries):
    skin = map_of(entries, np.full(len(entries), -1), cost=1.0 + 0.01 * entries[:, 2])
    image = render_skin_map(patient, skin, size=(1000, 720)).astype(int)
    front = image[60:370, 100:300]
    low, high = front[200:260, :60].mean(), front[60:120, :60].mean()
    assert low > high + 25  # the feet are the better end
    yellow = (image[..., 0] > 200) & (image[..., 1] > 160) & (image[..., 2] < 130)
    assert yellow[60:370, :400].sum() > 60 and yellow[380:680, 400:800].sum() > 60
    inside = paint_skin(patient, skin)
    assert inside.cost.min() >= skin.best_cost.min() - 1e-9 and inside.cost.max() <= skin.best_cost.max() + 1e-9


def test_rare_causes_share_one_patch_and_forbidden_skin_is_told_apart(patient, entries):
    rng = np.random.default_rng(4)
    skin = map_of(entries, rng.integers(0, len(NAMES), len(entries)))
    allowed = patient.entry.mesh.face_centres_mm[:, 2] > 0
    half = dataclasses.replace(patient, entry_faces=allowed)
    painted = paint_skin(half, skin)
    assert len(painted.patches) == len(SKIN_BLOCKED)
    assert painted.patches[-1].label == f"{len(NAMES) - len(SKIN_BLOCKED) + 1} others"
    assert sum(p.share for p in painted.patches) == pytest.approx(1.0)
    assert ((painted.patch == -2) == ~allowed).all()
    image = render_skin_map(half, skin, size=(800, 600))
    assert shares(image[:, :640], SKIN_NOT_EXAMINED, 0.05) > 0.05


def test_colours_of_what_blocks_differ_in_lightness_or_from_blue():
    colors = np.array([rgb(c) for c in SKIN_BLOCKED])
    apart = np.linalg.norm(colors[:, None] - colors[None], axis=2)[~np.eye(len(colors), dtype=bool)]
    assert apart.min() > 0.2
    # None looks like a score: those are blue.
    assert (colors[:, 2] <= colors.max(axis=1) + 1e-9).all()
    assert (colors[:, 2] - colors[:, 0] < 0.1).all()


def test_needles_are_marked_and_foreign_or_empty_maps_are_refused(patient, entries, insertions):
    skin = map_of(entries, np.full(len(entries), 1))
    bare = render_skin_map(patient, skin, size=(800, 600))
    marked = render_skin_map(patient, skin, insertions, size=(800, 600))
    assert np.abs(bare[:, :640].astype(int) - marked[:, :640]).max() > 60
    with pytest.raises(OptionError, match="another patient"):
        render_skin_map(patient, map_of(entries + 500.0, np.full(len(entries), 1)))
    with pytest.raises(OptionError, match="no entry"):
        render_skin_map(patient, map_of(np.zeros((0, 3)), np.zeros(0)))
