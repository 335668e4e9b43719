"""What lies inside the phantom's liver: main vessels at their places, tumours where they were asked for."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from needleplan.anatomy.phantom_layout import Layout, catmull_rom, rotation
from needleplan.anatomy.phantom_parameters import PhantomParameters, TumourParameters, TumourShape
from needleplan.anatomy.phantom_primitives import Ellipsoid, RoundedCones
from needleplan.anatomy.phantom_sampling import gradient
from needleplan.anatomy.phantom_shapes import Shape, Union
from needleplan.anatomy.phantom_vessels import MURRAY_EXPONENT, Stem, TreeGrower, VesselTree
from needleplan.errors import OptionError
from needleplan.frames import FloatArray

#: Least tissue between two tumours, in mm.
TUMOUR_GAP_MM = 3.0

#: Least tissue between a portal and a hepatic branch, in mm.
VESSEL_GAP_MM = 0.8

_CANDIDATES = 3000


@dataclass(frozen=True, slots=True, eq=False)
class LiverContents:
    """Vessel trees and tumours of one liver."""

    portal: VesselTree
    hepatic: VesselTree
    tumours: tuple[Shape, ...]


def fill_liver(
    layout: Layout, parameters: PhantomParameters, liver: Shape, cava: RoundedCones, generator: Generator
) -> LiverContents:
    """Places main vessels, then tumours, then grows the finer branches around them.

    A tumour without a centre lies at the first of up to 3000 random places, evenly spread over the liver, that
    meets its ranges of depth and vessel distance. Both are judged at 300 points of its surface. Between them it may
    come nearer: in 400 default patients, radii up to 22 mm, by up to 0.6 mm to the capsule and 1.0 mm to a vessel,
    so that 8 lay less deep than their range, by 0.3 mm at most, and 5 nearer to a vessel, by 0.5 mm at most; with
    radii up to 30 mm by up to 0.8 and 2.5 mm. More points would be stricter and give seeds other patients.

    Raises:
        OptionError: a tumour does not fit at its stated centre or anywhere within its stated ranges.
    """
    portal_stems = _portal_stems(layout, parameters.portal_radius_mm, liver)
    hepatic_stems = _hepatic_stems(layout, parameters.hepatic_radius_mm, liver)
    main = RoundedCones.joined([stem.shape for stem in (*portal_stems, *hepatic_stems)])
    cloud = points_inside(liver, 4000, 3.0, generator)
    tumours: list[Shape] = []
    for number, wish in enumerate(parameters.tumours, start=1):
        around = Union((main, cava, *[t.grown(TUMOUR_GAP_MM - wish.vessel_gap_mm[0]) for t in tumours]))
        tumours.append(_place_tumour(number, wish, liver, main, around, cloud, generator))
    kept = [(tumour, wish.vessel_gap_mm[0]) for tumour, wish in zip(tumours, parameters.tumours, strict=True)]
    free = cloud[np.all([tumour.signed_distance(cloud) > gap for tumour, gap in kept], axis=0)]
    portal = TreeGrower(portal_stems, liver, free, generator)
    hepatic = TreeGrower(hepatic_stems, liver, free, generator)
    for step in range(max(parameters.portal_generations, parameters.hepatic_generations)):
        if step < parameters.portal_generations:
            around_portal: list[tuple[Shape, float]] = [*kept, (hepatic.tree.shape, VESSEL_GAP_MM), (cava, 1.0)]
            portal.divide(around_portal, step == parameters.portal_generations - 1)
        if step < parameters.hepatic_generations:
            around_hepatic: list[tuple[Shape, float]] = [*kept, (portal.tree.shape, VESSEL_GAP_MM), (cava, 1.0)]
            hepatic.divide(around_hepatic, step == parameters.hepatic_generations - 1)
    return LiverContents(portal.tree, hepatic.tree, tuple(tumours))


def points_inside(shape: Shape, count: int, depth_mm: float, generator: Generator) -> FloatArray:
    """(count, 3) points spread evenly over the part of a solid that is deeper than ``depth_mm``."""
    low, high = shape.bounds_mm
    found = np.zeros((0, 3))
    for _ in range(100):
        points = generator.uniform(low, high, (2 * count, 3))
        found = np.concatenate([found, points[shape.signed_distance(points) < -depth_mm]])
        if len(found) >= count:
            return found[:count]
    raise OptionError("the liver of these parameters is too small to hold vessels and tumours")


def _portal_stems(layout: Layout, radius: float, liver: Shape) -> list[Stem]:
    """Trunk into the hilum, right and left branch; 60 % of the flow goes right, by volume of the lobes."""
    trunk = [(6, -9, -68), (-2, -11, -56), (-17, -13, -40), (-33, -12, -24)]
    right = [(-33, -12, -24), (-46, -10, -17), (-60, -6, -12)]
    left = [(-33, -12, -24), (-28, -24, -14), (-16, -36, -6), (2, -46, 0)]
    end = 0.96 * radius
    radii = [end * share ** (1.0 / MURRAY_EXPONENT) for share in (0.6, 0.4)]
    stems = [_stem(layout, liver, trunk, (radius, end), first_inside=3, divides=False)]
    for points, r in ((right, radii[0]), (left, radii[1])):
        stem = _stem(layout, liver, points, (r, 0.95 * r), first_inside=0, parent=0)
        course = np.array(stem.points_mm)
        course[0] = stems[0].points_mm[-1]
        stems.append(Stem(course, stem.radii_mm, 0))
    return stems


def _hepatic_stems(layout: Layout, radius: float, liver: Shape) -> list[Stem]:
    """Right, middle and left hepatic vein, each from within the vena cava below the diaphragm."""
    courses = (
        [(-27, 6, 18), (-40, 10, 17), (-56, 12, 12), (-70, 14, 4)],
        [(-26, 2, 20), (-33, -14, 17), (-42, -30, 10), (-48, -42, 0)],
        [(-20, 2, 20), (-14, -14, 16), (-4, -28, 13), (10, -38, 12)],
    )
    return [_stem(layout, liver, points, (radius, 0.93 * radius), first_inside=1) for points in courses]


def _stem(
    layout: Layout,
    liver: Shape,
    points: list[tuple[int, int, int]],
    radii: tuple[float, float],
    first_inside: int,
    parent: int = -1,
    divides: bool = True,
) -> Stem:
    """A main branch through nominal points; those from ``first_inside`` on are pulled into the liver."""
    control = layout.point(points)
    depth = radii[0] + 2.5
    for _ in range(20):
        lack = liver.signed_distance(control[first_inside:]) + depth
        if (lack <= 0).all():
            break
        slope = gradient(liver, control[first_inside:])
        control[first_inside:] -= slope * np.maximum(lack, 0.0)[:, None]
    line, _ = catmull_rom(control, 1.0, 5.0)
    thickness = np.linspace(radii[0], radii[1], len(line))
    depths = liver.signed_distance(line) + thickness
    outside = int(np.flatnonzero(depths > -0.5).max(initial=-1)) + 1
    return Stem(line, thickness, parent, outside, divides)


def _place_tumour(
    number: int,
    wish: TumourParameters,
    liver: Shape,
    main: Shape,
    around: Shape,
    cloud: FloatArray,
    generator: Generator,
) -> Shape:
    """The tumour at its stated centre, or at the first drawn place that meets its ranges."""
    form = _tumour_at_origin(wish, generator)
    rim = _rim(form, wish.radius_mm)
    shift = np.eye(4)
    if wish.centre_mm is not None:
        shift[:3, 3] = wish.centre_mm
        depth = float(-liver.signed_distance(rim + shift[:3, 3]).max())
        gap = float(around.signed_distance(rim + shift[:3, 3]).min())
        if depth < 0.5 or gap < 0.5:
            raise OptionError(
                f"tumour {number} at {wish.centre_mm} with a radius of {wish.radius_mm:g} mm must lie at least "
                f"0.5 mm inside the liver and off main vessels and other tumours, not {depth:.1f} and {gap:.1f} mm"
            )
        return form.moved(shift)
    (depth_low, depth_high), (gap_low, gap_high) = wish.capsule_depth_mm, wish.vessel_gap_mm
    centres = cloud[generator.permutation(len(cloud))[:_CANDIDATES]]
    for centre in centres[liver.signed_distance(centres) < -(depth_low + 0.6 * wish.radius_mm)]:
        depth = -liver.signed_distance(rim + centre).max()
        if not depth_low <= depth <= depth_high:
            continue
        if around.signed_distance(rim + centre).min() < gap_low:
            continue
        if main.signed_distance(rim + centre).min() <= gap_high:
            shift[:3, 3] = centre
            return form.moved(shift)
    raise OptionError(
        f"no place in this liver fits tumour {number} with a radius of {wish.radius_mm:g} mm, {depth_low:g} to "
        f"{depth_high:g} mm below the capsule and {gap_low:g} to {gap_high:g} mm from the main vessels"
    )


def _tumour_at_origin(wish: TumourParameters, generator: Generator) -> Shape:
    radius = wish.radius_mm
    if wish.shape is TumourShape.SPHERE:
        return RoundedCones.sphere(np.zeros(3), radius)
    if wish.shape is TumourShape.ELLIPSOID:
        a, b = generator.uniform(0.75, 1.3, 2)
        semi_axes = radius * np.array([a, b, 1.0 / (a * b)])
        return Ellipsoid(np.zeros(3), semi_axes, rotation(generator.uniform(0.0, 360.0, 3)))
    rays = generator.standard_normal((5, 3))
    places = rays / np.linalg.norm(rays, axis=1, keepdims=True) * generator.uniform(0.5, 0.75, (5, 1))
    sizes = generator.uniform(0.42, 0.58, 5)
    mean_cube = float((np.linalg.norm(_rim(_lobulated(1.0, places, sizes), 1.0), axis=1) ** 3).mean())
    return _lobulated(radius / np.cbrt(mean_cube), places, sizes)


def _lobulated(scale: float, places: FloatArray, sizes: FloatArray) -> Shape:
    """A ball with smaller ones around it, melted together."""
    balls = [RoundedCones.sphere(np.zeros(3), 0.8 * scale)]
    balls += [RoundedCones.sphere(scale * at, float(scale * size)) for at, size in zip(places, sizes, strict=True)]
    return Union(tuple(balls), 0.25 * scale)


def _rim(form: Shape, radius_mm: float) -> FloatArray:
    """(300, 3) points on the surface of a star-shaped solid around the origin, by bisection along rays."""
    k = np.arange(300) + 0.5
    z = 1.0 - k / 150.0
    turn = np.pi * (1.0 + np.sqrt(5.0)) * k
    rays = np.stack([np.cos(turn) * np.sqrt(1 - z * z), np.sin(turn) * np.sqrt(1 - z * z), z], axis=1)
    low, high = np.zeros(300), np.full(300, 3.0 * radius_mm)
    for _ in range(40):
        middle = 0.5 * (low + high)
        inside = form.signed_distance(rays * middle[:, None]) < 0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.asarray(rays * high[:, None])
