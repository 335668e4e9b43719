"""Anatomical directions of a case, and the letters that mark them in pictures."""

import numpy as np
from numpy.typing import ArrayLike

from needleplan.case.model import Case
from needleplan.frames import FloatArray, read_only, unit_vector

#: Letters of the positive and the negative direction of each anatomical axis, in the order L, P, S.
LETTERS = (("L", "R"), ("P", "A"), ("S", "I"))


def anatomical_axes(case: Case) -> FloatArray:
    """(3, 3) columns: unit vectors to the patient's left, posterior and superior, in the case's world.

    They are the world's own axes unless the case was moved; then they moved with it, so that pictures keep to
    the patient and not to the table.
    """
    lying = case.position.up
    standard = np.stack([np.cross(lying, (0.0, 0.0, 1.0)), lying, (0.0, 0.0, 1.0)], axis=1)
    cranial = case.cranial - (case.cranial @ case.up) * case.up
    if np.linalg.norm(cranial) < 1e-6:
        return read_only(np.eye(3))
    cranial = unit_vector(cranial)
    moved = np.stack([np.cross(case.up, cranial), case.up, cranial], axis=1)
    return read_only(moved @ standard.T)


def direction_letters(direction: ArrayLike, axes: FloatArray, least: float = 0.35) -> str:
    """Letters of a direction, the strongest first, for instance ``"A"`` or ``"RA"``.

    Args:
        direction: (3,) direction in the case's world.
        axes: (3, 3) columns left, posterior, superior.
        least: a letter appears where the direction's part along its axis is at least this share.
    """
    parts = axes.T @ unit_vector(direction)
    order = np.argsort(-np.abs(parts), kind="stable")
    return "".join(LETTERS[k][0 if parts[k] > 0 else 1] for k in order if abs(parts[k]) >= least)
