"""Where the metal of a radiofrequency electrode lies in the patient."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from needleplan.ablation.needle_contact import NeedlePart
from needleplan.ablation.schedule import Firing
from needleplan.devices.applicator_physics import RadiofrequencyElectrode
from needleplan.frames import FloatArray, perpendicular_axes
from needleplan.plan import vector3

#: Straight pieces that stand for the half circle of a tine.
_PIECES = 6


@dataclass(frozen=True, slots=True)
class ElectrodeParts:
    """Straight parts of one electrode and the pole of each: 1 or, for the second pole of a bipolar one, -1."""

    parts: tuple[NeedlePart, ...]
    poles: tuple[float, ...]


def electrode_parts(firing: Firing, electrode: RadiofrequencyElectrode) -> ElectrodeParts:
    """The active parts of an electrode at its place; see RadiofrequencyElectrode for the shapes."""
    if electrode.arrangement == "single":
        return ElectrodeParts((firing.part(electrode.active_length_mm, electrode.diameter_mm),), (1.0,))
    if electrode.arrangement == "bipolar":
        gap = float(electrode.pole_gap_mm or 0.0)
        pole = 0.5 * (electrode.active_length_mm - gap)
        front = firing.part(pole, electrode.diameter_mm)
        back = firing.part(pole, electrode.diameter_mm, pole + gap)
        return ElectrodeParts((front, back), (0.5, -0.5))
    tip, axis = np.asarray(firing.ablation.tip_mm), firing.direction
    x, y = perpendicular_axes(axis)
    angles = 2.0 * np.pi * np.arange(electrode.tine_count) / electrode.tine_count
    around = np.cos(angles)[:, None] * x + np.sin(angles)[:, None] * y
    if electrode.arrangement == "cluster":
        ring = float(electrode.cluster_spacing_mm or 0.0) / (2.0 * np.sin(np.pi / electrode.tine_count))
        parts = tuple(
            NeedlePart(
                vector3(tip + ring * side - electrode.active_length_mm * axis),
                vector3(tip + ring * side),
                0.5 * electrode.diameter_mm,
            )
            for side in around
        )
        return ElectrodeParts(parts, (1.0,) * len(parts))
    # An umbrella: from the end of the shaft each tine bends forward, out and back in a half circle.
    half = 0.25 * float(electrode.deployed_diameter_mm or 0.0)
    base = tip - half * axis
    bends = np.linspace(0.0, np.pi, _PIECES + 1)
    tines: list[NeedlePart] = []
    for side in around:
        course: FloatArray = (
            base + half * (1.0 - np.cos(bends))[:, None] * side + half * np.sin(bends)[:, None] * axis
        )
        radius = 0.5 * float(electrode.tine_diameter_mm or 0.0)
        pieces = [NeedlePart(vector3(a), vector3(b), radius, bare_end=False) for a, b in pairwise(course)]
        tines += [*pieces[:-1], replace(pieces[-1], bare_end=True)]
    return ElectrodeParts(tuple(tines), (1.0,) * len(tines))
