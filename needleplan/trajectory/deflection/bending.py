"""Straight candidates turned into the paths of a needle that bends."""

import dataclasses

import numpy as np

from needleplan.errors import GeometryError
from needleplan.frames import FloatArray
from needleplan.trajectory.arcs import arcs_followed_mm
from needleplan.trajectory.contract import DeflectionModel
from needleplan.trajectory.table import TrajectoryTable


def bent(table: TrajectoryTable, model: DeflectionModel) -> TrajectoryTable:
    """The table of the same entries and aims with paths that bend, without columns: all has to be measured anew.

    Each path follows the model's arc from entry to aim and on along the same circle, as far beyond the aim as the
    tip of the straight path lies: the middle of the zone stays where it was wanted, and the tip moves.

    Raises:
        GeometryError: the paths are bent already, the model breaks its contract, or an arc would be half a circle
            or more.
    """
    if table.curvature_per_mm is not None:
        raise GeometryError("the paths of this table are bent already: bend the table of straight paths")
    plain = dataclasses.replace(table, constraints=(), objectives=(), cost=None, front=None)
    curvature = model.curvature_per_mm(table.entry_mm, table.aim_mm)
    if curvature is None:
        return plain
    if curvature.shape != table.entry_mm.shape:
        raise GeometryError(f"{model.name}: a curvature for each path is needed, not of shape {curvature.shape}")
    beyond = np.linalg.norm(table.tip_mm - table.aim_mm, axis=1)
    size = np.linalg.norm(curvature, axis=1)
    chord = np.linalg.norm(table.aim_mm - table.entry_mm, axis=1)
    if (2.0 * np.arcsin(np.clip(0.5 * size * chord, 0.0, 1.0)) + size * beyond >= np.pi).any():
        raise GeometryError(f"{model.name}: a path would be half a circle or more: leave out such far entries")
    tip = arcs_followed_mm(table.entry_mm, table.aim_mm, curvature, beyond)
    return dataclasses.replace(plain, tip_mm=tip, curvature_per_mm=_across(tip - table.entry_mm, curvature))


def _across(chord: FloatArray, curvature: FloatArray) -> FloatArray:
    """(n, 3) the same curvature for longer chords of the same circles: perpendicular, in the plane, as long."""
    size = np.linalg.norm(curvature, axis=1, keepdims=True)
    unit = chord / np.linalg.norm(chord, axis=1, keepdims=True)
    turned = curvature - np.einsum("ij,ij->i", curvature, unit)[:, None] * unit
    turned -= np.einsum("ij,ij->i", turned, unit)[:, None] * unit
    length = np.linalg.norm(turned, axis=1, keepdims=True)
    return np.asarray(np.where(size > 0, size * turned / np.where(length > 0, length, 1.0), 0.0))
