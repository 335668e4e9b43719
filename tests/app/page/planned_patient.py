"""The small made patient with a plan of two needles, lying obliquely in the world."""

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.anatomy.queries import AnatomyQueries
from needleplan.app.pipeline import PlannedCase
from needleplan.assess import assess
from needleplan.trajectory.skin_map import SkinMap
from tests.sim.made_patient import make_anatomy, make_plan


def oblique() -> np.ndarray:
    move = np.eye(4)
    move[:3, :3] = Rotation.from_euler("xyz", (25, 40, -70), degrees=True).as_matrix()
    move[:3, 3] = (31.0, -12.0, 57.0)
    return move


def planned_patient(move: np.ndarray | None = None, count: int = 2, scored: bool = False) -> PlannedCase:
    anatomy = make_anatomy(move)
    queries, plan, model = AnatomyQueries(anatomy), make_plan(anatomy, count), EllipsoidTableModel()
    assessment = assess(queries, plan.insertions, model, 5.0) if scored else None
    metrics = None if assessment is None else assessment.metrics
    return PlannedCase(anatomy, queries, dataclasses.replace(plan, metrics=metrics), model, assessment)


def with_skin(planned: PlannedCase, spacing: int = 37) -> PlannedCase:
    """The same with a skin map of entries spread over the whole skin."""
    entry = planned.anatomy.entry.mesh.vertices_mm[::spacing]
    n = len(entry)
    skin = SkinMap(
        ("skin angle",), ("deg",), entry, np.full(n, 1), np.full(n, 1), np.zeros(n), np.zeros(n, int),
        np.full(n, -1), np.zeros((n, 1)),
    )  # fmt: skip
    return dataclasses.replace(planned, skin=skin)
