"""A needle that lies in a moving organ: it turns about its place in the skin, and slides along itself."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from needleplan.errors import GeometryError
from needleplan.frames import FloatArray, read_only, unit_vector


class Holds(StrEnum):
    """Which end of the needle keeps its depth while the tissue moves."""

    TISSUE = "tissue"  #: the tissue at the tip holds it; the shaft slides through the skin (a needle let go of)
    SKIN = "skin"  #: skin or driver hold it; the tip slides in the tissue (a needle held at its hub)


@dataclass(frozen=True, slots=True, eq=False)
class CarriedNeedle:
    """Where a needle is after the tissue has moved.

    Attributes:
        entry_m: (3,) where it passes the skin.
        tip_m: (3,) its tip.
        direction: (3,) unit vector from entry to tip.
        inserted_m: length of shaft behind the skin.
        slid_in_m: shaft that went in through the skin since before; negative where it came out.
        deeper_in_tissue_m: how much deeper along the needle its tip lies in the tissue around it than before.
    """

    entry_m: FloatArray
    tip_m: FloatArray
    direction: FloatArray
    inserted_m: float
    slid_in_m: float
    deeper_in_tissue_m: float


def carried(
    entry_m: ArrayLike,
    tip_m: ArrayLike,
    entry_shift_m: ArrayLike,
    tissue_shift_m: ArrayLike,
    holds: Holds = Holds.TISSUE,
) -> CarriedNeedle:
    """The pose of a straight needle whose skin point and whose tissue at the tip have moved.

    The shaft is stiff and goes through the moved skin point, towards the moved place of the tissue in which the
    tip lay. Held by tissue, the tip is just there; held at the skin, the inserted length stays and the tip lies
    that far along the new direction. Where all moves alike, the two agree and nothing slides.

    Args:
        entry_m: (3,) where the needle passed the skin.
        tip_m: (3,) where its tip was.
        entry_shift_m: (3,) displacement of the skin since.
        tissue_shift_m: (3,) displacement of the tissue at the tip since.
        holds: what keeps its depth.

    Raises:
        GeometryError: entry and tip coincide, before or after, or a number is not finite.
    """
    start, tip, entry_shift, tissue_shift = (
        np.asarray(v, dtype=np.float64) for v in (entry_m, tip_m, entry_shift_m, tissue_shift_m)
    )
    before = float(np.linalg.norm(tip - start))
    entry, place = start + entry_shift, tip + tissue_shift
    reach = float(np.linalg.norm(place - entry))
    if not (np.isfinite([before, reach]).all() and min(before, reach) > 1e-6):
        raise GeometryError(
            "a needle in tissue needs an entry and a tip that are apart, before and after the motion"
        )
    direction = unit_vector(place - entry)
    inserted = reach if holds is Holds.TISSUE else before
    return CarriedNeedle(
        read_only(entry), read_only(entry + inserted * direction), read_only(direction), inserted,
        inserted - before, inserted - reach,
    )  # fmt: skip
