"""Whether a given transform leads from one scan to the other the right way round.

The two directions of a transform are easily confused, and the inverse of a small motion still lays a zone near its
tumour. So both are tried with all maps that there are.
"""

from needleplan.confirmation.alignment import Alignment
from needleplan.confirmation.plausibility import ORGAN_OVERLAP, middles, overlap
from needleplan.errors import GeometryError
from needleplan.frames import FloatArray
from needleplan.grid import VoxelMask

#: What the file must hold, for messages.
RIGHT_WAY = (
    "a file is wanted that takes points of the scan before to the scan after (fixed = before, moving = after)"
)
#: Shares of the tumour in the zone by the transform and by its inverse that refuse it: below and above.
_IN_ZONE = (0.1, 0.5)
#: The inverse fits better where its shares are greater by this on the mean.
_BETTER = 0.05


def check_direction(
    tumour: VoxelMask,
    zone: VoxelMask,
    alignment: Alignment,
    organ_before: VoxelMask | None = None,
    organ_after: VoxelMask | None = None,
) -> tuple[str, ...]:
    """A note where the inverse of a given transform fits better; nothing for transforms that were found here.

    Args:
        tumour: in the scan before.
        zone: in the scan after, in that scan's own frame.
        alignment: lays the one on the other.
        organ_before: the organ in the scan before.
        organ_after: the organ in the scan after, in that scan's own frame.

    Raises:
        GeometryError: the inverse fits and the transform does not.
    """
    if alignment.method != "given":
        return ()
    pose = alignment.transform
    forward, backward = (
        _shares(tumour, zone, organ_before, organ_after, matrix) for matrix in (pose.matrix, pose.inverse().matrix)
    )
    if organ_before is not None and organ_after is not None:
        # Both organs say more than a zone that may have missed its tumour.
        now, other = forward["organs"], backward["organs"]
        if other > max(now, ORGAN_OVERLAP[0]) and other > now + _BETTER:
            raise GeometryError(
                f"the organs overlap to {now:.0%} by the transform and to {other:.0%} by its inverse: it leads the "
                f"wrong way; {RIGHT_WAY}"
            )
    now, other = forward["tumour in zone"], backward["tumour in zone"]
    mean_now, mean_other = (sum(shares.values()) / len(shares) for shares in (forward, backward))
    if not mean_other > mean_now + _BETTER:
        return ()
    words = f"the zone holds {now:.0%} of the tumour by the transform and {other:.0%} by its inverse"
    if now < _IN_ZONE[0] and other > _IN_ZONE[1] and "organs" not in forward:
        raise GeometryError(f"{words}: it leads the wrong way; {RIGHT_WAY}")
    fits = ", ".join(f"{name} {forward[name]:.0%} and {backward[name]:.0%}" for name in forward)
    return (
        f"The inverse of the transform fits better than the transform ({fits}): check its direction; {RIGHT_WAY}.",
    )


def _shares(
    tumour: VoxelMask,
    zone: VoxelMask,
    organ_before: VoxelMask | None,
    organ_after: VoxelMask | None,
    matrix: FloatArray,
) -> dict[str, float]:
    """What lies in what, as shares, with the scan after moved by a matrix."""
    placed = VoxelMask(zone.grid.moved(matrix), zone.inside)
    shares = {"tumour in zone": float(placed.contains(middles(tumour)).mean())}
    if organ_before is not None:
        shares["zone in organ"] = float(organ_before.contains(middles(placed)).mean())
    if organ_after is not None:
        moved = VoxelMask(organ_after.grid.moved(matrix), organ_after.inside)
        shares["tumour in organ"] = float(moved.contains(middles(tumour)).mean())
    if organ_before is not None and organ_after is not None:
        shares["organs"] = overlap(organ_before, organ_after, matrix)
    return shares
