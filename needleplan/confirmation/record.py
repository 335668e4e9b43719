"""A confirmation as plain values for confirmation.json: figures, hashes of what went in, no names and no paths."""

import hashlib
import json
from typing import Any

import numpy as np

from needleplan.confirmation.confirm import Confirmation
from needleplan.confirmation.margin_map import MarginMap
from needleplan.confirmation.residue import Residue
from needleplan.frames import FloatArray
from needleplan.grid import VoxelMask
from needleplan.io.value_json import to_json

SCHEMA, VERSION = "needleplan.confirmation", 1
#: Coordinates enter the hash in whole steps of this size, far above the rounding of different machines.
_HASH_STEP_MM = 1e-5


def mask_hash(mask: VoxelMask) -> str:
    """SHA-256 (hex) of the voxels of a mask and where they lie, the same in whichever format they were stored."""
    digest = hashlib.sha256(json.dumps(["needleplan.mask 1", mask.grid.shape]).encode())
    digest.update(np.rint(mask.grid.T_PV / _HASH_STEP_MM).astype("<i8").tobytes())
    digest.update(np.packbits(mask.inside.ravel()).tobytes())
    return digest.hexdigest()


def confirmation_to_json(
    confirmation: Confirmation, inputs: dict[str, VoxelMask], planned: dict[str, Any] | None = None
) -> dict[str, Any]:
    """All figures as plain values.

    Args:
        confirmation: the figures.
        inputs: the masks that were read, by their part in it, of which only hashes are kept.
        planned: figures of a plan to be kept beside those that were achieved.
    """
    margins, options = confirmation.margins, confirmation.options
    alignment, spread = confirmation.alignment, confirmation.spread
    shares = margins.shares
    middle = margins.mesh.bounds_mm.mean(axis=0)
    content = {
        "schema": SCHEMA,
        "version": VERSION,
        "frame": "patient LPS of the scan before, mm",
        "inputs": {name: {"sha256": mask_hash(mask)} for name, mask in inputs.items()},
        "options": to_json(options),
        "alignment": {
            "method": alignment.method,
            "before_from_after": to_json(alignment.transform.matrix),
            "error_at_tumour_mm": alignment.error_mm(middle),
        },
        "reached": confirmation.reached,
        "tumour_is_left": confirmation.tumour_left,
        "least_margin_mm": margins.least_mm,
        "least_margin_at_mm": to_json(margins.least_at_mm),
        "least_margin_spread": None if spread is None else to_json(spread),
        "least_margin_by_rule_mm": {"none": margins.plain_least_mm, "excluded": margins.excluded_least_mm},
        "mean_margin_mm": margins.mean_mm,
        "surface_shares": {
            "below_0": shares.uncovered,
            "below_margin": shares.short,
            "margin_or_more": shares.reached,
            "counted": margins.counted_share,
            "beside_capsule": margins.beside_capsule_share,
            "undecided_at_capsule": margins.undecided_share,
        },
        "full_cover_mm": confirmation.full_cover_mm,
        "volumetric_margins": to_json(confirmation.volumetric),
        "tumour_ml": confirmation.tumour_ml,
        "zone_ml": confirmation.zone_ml,
        "tumour_coverage": confirmation.coverage,
        "tumour_left": _residue(confirmation.residue),
        "margin_left": _residue(confirmation.shortfall),
        "surface_error_mm": confirmation.surface_error_mm,
        "resolution_mm": confirmation.resolution_mm,
        "notes": list(confirmation.notes),
    }
    if planned is not None:
        content["planned"] = planned
    return content


def _residue(residue: Residue) -> dict[str, Any]:
    return {
        "margin_mm": residue.margin_mm,
        "left_ml": residue.left_ml,
        "unresolved_ml": residue.unresolved_ml,
        "cube_mm": residue.cube_mm,
        "pieces": [{**to_json(piece), "towards": direction_words(piece.direction)} for piece in residue.pieces],
    }


def direction_words(direction: FloatArray) -> str:
    """A direction in patient LPS in words, its greatest component first; components below a third are left out."""
    words = (("right", "left"), ("front", "back"), ("feet", "head"))
    order = np.argsort(-np.abs(direction), kind="stable")
    return ", ".join(words[axis][int(direction[axis] > 0)] for axis in order if abs(direction[axis]) > 1.0 / 3.0)


def margin_table(margins: MarginMap) -> str:
    """The margin at every vertex of the tumour's surface as CSV, in the order of its vertices."""
    names = "x_mm,y_mm,z_mm,margin_mm,plain_margin_mm,capsule_depth_mm,counted"
    lines = [names]
    for place, margin, plain, depth, counted in zip(
        margins.mesh.vertices_mm.tolist(),
        margins.margins_mm.tolist(),
        margins.plain_margins_mm.tolist(),
        margins.capsule_depth_mm.tolist(),
        margins.counted.tolist(),
        strict=True,
    ):
        x, y, z = place
        below = "" if depth != depth else f"{depth:.4f}"
        lines.append(f"{x:.4f},{y:.4f},{z:.4f},{margin:.4f},{plain:.4f},{below},{int(counted)}")
    return "\n".join(lines) + "\n"
