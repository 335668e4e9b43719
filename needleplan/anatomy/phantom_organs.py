"""Soft organs of the phantom, carved so that none reaches into another."""

from collections.abc import Sequence

import numpy as np

from needleplan.anatomy.phantom_layout import Layout, catmull_rom, spine_y_mm
from needleplan.anatomy.phantom_primitives import Ellipsoid, RoundedCones, Superellipsoid
from needleplan.anatomy.phantom_shapes import Intersection, Shape, Union
from needleplan.anatomy.phantom_skeleton import CAGE_CENTRE_MM, CAGE_EXPONENT, CAGE_SEMI_AXES_MM

#: Least tissue between two organs, and of the diaphragm between lung and what lies below it, in mm.
ORGAN_GAP_MM = 1.5
DIAPHRAGM_MM = 4.0


def body_solid(layout: Layout) -> Shape:
    """The skin as a solid that goes on above and below the image."""
    trunk = layout.superellipsoid((0, 0, 30), (170, 119, 430), 2.4)
    hips = layout.superellipsoid((0, 2, -230), (172, 112, 190), 2.3)
    solid: Shape = Union((trunk, hips), 30.0)
    z = np.linspace(-260.0, 260.0, 14)
    furrow = layout.tube(np.stack([0 * z, spine_y_mm(z) + 83.0, z], axis=1), 13.0)
    solid = solid.without(furrow, blend_mm=14.0)
    chest = [
        Ellipsoid(layout.point((side * 72, -93, 118)), layout.point((60, 26, 44)), np.eye(3)) for side in (-1, 1)
    ]
    navel = layout.tube([[0, -140, -118], [0, -116, -118]], [5.0, 4.0])
    return Union((solid, *chest), 22.0).without(navel, blend_mm=6.0)


def organs(layout: Layout, rib_radius_mm: float, hard: dict[str, Shape]) -> dict[str, Shape]:
    """All soft organs by name; ``hard`` holds the bones by name, which the organs keep clear of."""
    inset = 1.2 * rib_radius_mm * layout.thickness_scale + 2.5
    semi_axes = layout.point(CAGE_SEMI_AXES_MM) - inset
    cavity = Superellipsoid(layout.point(CAGE_CENTRE_MM), semi_axes, CAGE_EXPONENT, np.eye(3))
    gap = ORGAN_GAP_MM

    aorta_z = [-240, -180, -120, -60, 0, 60, 120, 180, 240]
    aorta = _before_spine(layout, aorta_z, [9, 9, 10, 12, 14, 17, 20, 20, 20], 31.5, 10.0)
    cava = layout.smooth_tube(
        [
            [-17, 16, -240],
            [-17, 14, -150],
            [-19, 12, -90],
            [-22, 10, -40],
            [-24, 7, 0],
            [-22, 3, 36],
            [-14, -4, 62],
        ],
        [10, 10, 11, 11, 11, 11.5, 11],
        10.0,
    )
    right_dome = layout.ellipsoid((-72, -2, -40), (77, 91, 96))
    left_dome = layout.ellipsoid((72, 2, -45), (72, 84, 82))
    centre_dome = layout.ellipsoid((0, -12, -45), (62, 76, 78))
    abdomen = layout.half_space((0, 0, -42), (0, 0, 1))
    diaphragm = Union((right_dome, left_dome, centre_dome, abdomen), 14.0)
    below = diaphragm.grown(-DIAPHRAGM_MM)
    retro = layout.tube(np.stack([0 * np.arange(5.0), spine_y_mm(np.linspace(-240, 240, 5)) - 2,
                                  np.linspace(-240, 240, 5)], axis=1), 31.0)  # fmt: skip

    kidneys: dict[str, Shape] = {}
    beds: dict[str, Shape] = {}
    for name, side, height in (("kidney_right", -1, -78), ("kidney_left", 1, -62)):
        bean = layout.ellipsoid((side * 62, 47, height), (27, 23, 56), (-8, side * 10, side * -25))
        beds[name] = bean.grown(2 * gap)
        hilum = layout.ellipsoid((side * 38, 36, height), (13, 13, 17))
        kidneys[name] = Intersection((bean, cavity, below)).without(
            hilum, retro, hard["spine"].grown(gap), blend_mm=6.0
        )

    gallbladder = layout.smooth_tube(
        [[-38, -18, -36], [-45, -34, -47], [-56, -56, -64], [-63, -72, -78]], [3.5, 7.5, 12.5, 13.5], 4.0
    )
    # The visceral face looks down, back and to the left; towards the front it meets the dome in a sharp edge.
    face = layout.half_space((-30, -5, -40), (0.36, 0.42, -0.83))
    right_lobe = layout.ellipsoid((-76, -2, -42), (72, 88, 93))
    left_lobe = layout.ellipsoid((10, -46, -4), (78, 40, 42), (0, -14, 10))
    caudate = layout.ellipsoid((-8, 2, 2), (20, 20, 28))
    left_face = layout.half_space((20, -34, -8), (0.10, 0.72, -0.68))
    lobes = Union(
        (
            Intersection((right_lobe, face), 9.0),
            Intersection((left_lobe, left_face), 8.0),
            Intersection((caudate, right_lobe.grown(25.0)), 4.0),
        ),
        12.0,
    )
    liver = Intersection((lobes, below, cavity), 3.0).without(
        retro, aorta.grown(5.0), gallbladder.grown(gap), beds["kidney_right"], cava.grown(gap), blend_mm=4.0
    )

    heart_bed = Union(
        (
            layout.ellipsoid((24, -38, 80), (54, 40, 41), (0, 28, -14)),
            layout.ellipsoid((-14, -22, 84), (32, 34, 42)),
            layout.tube([[30, -46, 78], [70, -62, 50]], [32.0, 18.0]),
        ),
        14.0,
    )
    heart = Intersection((heart_bed, cavity), 3.0).without(
        diaphragm.grown(gap), aorta.grown(gap), cava.grown(gap), retro, blend_mm=5.0
    )
    spleen_whole = layout.ellipsoid((103, 42, 2), (30, 48, 64), (18, 10, -30))
    spleen = Intersection((spleen_whole, cavity, below), 4.0).without(
        layout.ellipsoid((58, 4, 10), (31, 40, 50)), beds["kidney_left"], retro, blend_mm=6.0
    )
    stomach_whole = Union(
        (
            layout.ellipsoid((62, 12, 8), (36, 34, 42)),
            layout.smooth_tube(
                [[64, 2, 6], [62, -26, -26], [40, -52, -52], [10, -58, -56], [-14, -46, -50]],
                [32, 30, 24, 18, 11],
                9.0,
            ),
        ),
        12.0,
    )
    solids = [liver.grown(2.5), spleen.grown(gap), beds["kidney_left"], aorta.grown(gap), retro]
    stomach = Intersection((stomach_whole, cavity, below), 3.0).without(
        *solids, gallbladder.grown(gap), beds["kidney_right"], cava.grown(gap), blend_mm=5.0
    )
    colon = Intersection((_colon(layout), cavity, below), 2.0).without(
        liver.grown(2.5), stomach.grown(gap), spleen.grown(gap), gallbladder.grown(gap), retro, aorta.grown(gap),
        beds["kidney_left"], beds["kidney_right"], cava.grown(gap),
        blend_mm=3.0,
    )  # fmt: skip
    lungs = _lungs(
        layout,
        Intersection((cavity,)).without(
            diaphragm, heart_bed.grown(gap + 1), aorta.grown(gap), cava.grown(gap), retro
        ),
        hard,
    )
    shapes: dict[str, Shape] = {
        "liver": liver,
        "vena_cava": cava,
        "aorta": aorta,
        "gallbladder": gallbladder,
        **kidneys,
        "spleen": spleen,
        "stomach": stomach,
        "colon": colon,
        "heart": heart,
        **lungs,
    }
    return shapes


def _before_spine(
    layout: Layout, z_mm: Sequence[float], x_mm: Sequence[float], forward_mm: float, radius: float
) -> RoundedCones:
    """A vessel at a distance in front of the middle of the vertebral bodies."""
    z = np.asarray(z_mm, dtype=np.float64)
    points = np.stack([np.asarray(x_mm, dtype=np.float64), spine_y_mm(z) - forward_mm, z], axis=1)
    return layout.smooth_tube(points, radius, 12.0)


def _colon(layout: Layout) -> RoundedCones:
    """Ascending, transverse and descending colon, with the pouches that its bands draw up."""
    course = [
        (-98, 20, -230), (-100, 22, -150), (-96, 14, -122), (-84, -18, -116), (-58, -56, -118), (-14, -78, -122),
        (38, -76, -112), (80, -52, -84), (106, -6, -54), (114, 24, -70), (116, 30, -120), (112, 26, -230),
    ]  # fmt: skip
    curve, _ = catmull_rom(course, 1.0, 9.0)
    radii = np.where(np.arange(len(curve)) % 2 == 0, 19.0, 14.5)
    radii *= np.linspace(1.1, 0.85, len(curve))
    return layout.tube(curve, radii)


def _lungs(layout: Layout, chest: Shape, hard: dict[str, Shape]) -> dict[str, Shape]:
    """Both lungs: the chest above the lung's lower border, apart from what lies between them."""
    border = layout.half_space((0, 0, 24), (0, -0.38, -1))  # lower behind than in front
    between = layout.fixed_ellipsoid((4, 0, 110), (22, 90, 300))
    lungs: dict[str, Shape] = {}
    for name, side in (("lung_right", -1.0), ("lung_left", 1.0)):
        half = layout.half_space((side * 8.0, 0, 0), (-side, 0, 0))
        lungs[name] = Intersection((chest, border, half), 4.0).without(
            between, *(bone.grown(ORGAN_GAP_MM) for bone in hard.values()), blend_mm=4.0
        )
    return lungs
