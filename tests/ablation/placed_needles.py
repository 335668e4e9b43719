"""Needles for the tests of zone models: laid along oblique axes, so that nothing fits the patient's own axes."""

import numpy as np
from made_cases import rotation

from needleplan.plan import Ablation, Insertion, vector3

ORIGIN = np.array([12.0, -31.0, 55.0])
#: Across the needles, across both, and along them from entry to tip.
AXES = rotation(21)


def at(place):
    """A place along the axes in patient LPS mm."""
    return ORIGIN + np.asarray(place, float) @ AXES.T


def needle(applicator, place=(0, 0, 0), power_w=None, duration_s=120.0, tilt_deg=0.0, pulled_mm=(), order=1):
    """A needle with its tip at a place along the axes, tilted in their first plane, and drawn back by steps."""
    angle = np.radians(tilt_deg)
    way = AXES @ np.array([np.sin(angle), 0.0, np.cos(angle)])
    tip = at(place)
    tips = [tip, *(tip - back * way for back in pulled_mm)]
    ablations = tuple(Ablation(vector3(one), power_w, duration_s) for one in tips)
    return Insertion(vector3(tip - 90 * way), vector3(tip), applicator, ablations, order=order)


def moved(insertion, matrix):
    """The insertion carried along by a rigid (4, 4) motion."""

    def carried(point):
        return vector3(matrix[:3, :3] @ np.asarray(point) + matrix[:3, 3])

    return Insertion(
        carried(insertion.entry_mm),
        carried(insertion.tip_mm),
        insertion.applicator,
        tuple(Ablation(carried(one.tip_mm), one.power_w, one.duration_s) for one in insertion.ablations),
        order=insertion.order,
    )


def reach_mm(zone, place, direction, most_mm=60.0):
    """How far a zone reaches from a place in it along a direction of the axes."""
    steps = np.arange(0.0, most_mm, 0.05)
    points = at(place) + steps[:, None] * (AXES @ np.asarray(direction, float))
    inside = zone.contains(points)
    assert inside[0]
    return float(steps[np.argmin(inside)])


def extents_mm(zone):
    """Full extents of a zone along AXES, from its surface."""
    local = np.concatenate([mesh.vertices_mm for mesh in zone.surfaces()]) @ AXES
    return local.max(axis=0) - local.min(axis=0)
