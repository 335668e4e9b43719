"""What the limits on a path may be, and which of them may be made to cost only."""

import numpy as np

from needleplan.errors import OptionError
from needleplan.trajectory.constraints.clearance import LARGEST_LIMIT_MM
from needleplan.trajectory.constraints.entry_spacing import LARGEST_SPACING_MM
from needleplan.trajectory.constraints.host_entries import MOST_ENTRIES

#: Least and greatest value of every limit that is a number.
LIMIT_RANGES: dict[str, tuple[float, float]] = {
    "vessel_mm": (0.0, LARGEST_LIMIT_MM),
    "airway_mm": (0.0, LARGEST_LIMIT_MM),
    "bone_mm": (0.0, LARGEST_LIMIT_MM),
    "lung_mm": (0.0, LARGEST_LIMIT_MM),
    "bowel_mm": (0.0, LARGEST_LIMIT_MM),
    "critical_mm": (0.0, LARGEST_LIMIT_MM),
    "no_go_mm": (0.0, LARGEST_LIMIT_MM),
    "skin_angle_deg": (0.0, 90.0),
    "table_angle_deg": (0.0, 180.0),
    "organ_path_mm": (0.0, 180.0),
    "direct_puncture_mm": (0.0, 180.0),
    "subcapsular_mm": (0.0, 100.0),
    "capsule_angle_deg": (0.0, 90.0),
    "host_entries": (1.0, float(MOST_ENTRIES)),
    "out_of_plane_deg": (0.0, 90.0),
    "approach_angle_deg": (0.0, 180.0),
    "bore_radius_mm": (100.0, 1000.0),
    "bore_axis_above_table_mm": (0.0, 1000.0),
    "guide_radius_mm": (0.0, 100.0),
    "guide_length_mm": (0.0, 300.0),
    "guide_standoff_mm": (0.0, 300.0),
    "entry_spacing_mm": (0.0, LARGEST_SPACING_MM),
    "needle_distance_mm": (0.0, LARGEST_LIMIT_MM),
}
#: Limits that may be made to cost only. Length, skin, forbidden and entry regions and reach always reject.
SOFT_LIMITS = (
    "vessel_mm", "airway_mm", "bone_mm", "lung_mm", "bowel_mm", "critical_mm", "skin_angle_deg", "table_angle_deg",
    "organ_path_mm", "direct_puncture_mm", "capsule_angle_deg", "host_entries", "out_of_plane_deg",
    "approach_angle_deg", "bore_radius_mm", "guide_radius_mm", "entry_spacing_mm", "needle_distance_mm",
)  # fmt: skip
#: Limits that are clearances to structures of a role.
CLEARANCE_LIMITS = ("vessel_mm", "airway_mm", "bone_mm", "lung_mm", "bowel_mm", "critical_mm", "no_go_mm")
#: Limits that are whole numbers.
WHOLE_LIMITS = ("host_entries",)
#: Limits that say nothing unless another one is stated.
LIMITS_OF_OTHERS = {
    "subcapsular_mm": "direct_puncture_mm",
    "approach_angle_deg": "approach_side",
    "bore_axis_above_table_mm": "bore_radius_mm",
    "guide_length_mm": "guide_radius_mm",
    "guide_standoff_mm": "guide_radius_mm",
}


def require_limit(name: str, value: object, optional: bool) -> None:
    """Check one limit that is a number.

    Args:
        name: one of ``LIMIT_RANGES``.
        value: what it is to be.
        optional: whether it may be None, not asked for.

    Raises:
        OptionError: it is no number, none in its range, or not whole where it must be.
    """
    if value is None and optional:
        return
    or_none = " or None" if optional else ""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise OptionError(f"the limit {name} must be a number{or_none}, not {value!r}")
    least, most = LIMIT_RANGES[name]
    if not least <= value <= most:
        kind = "clearance to " if name in CLEARANCE_LIMITS else "limit "
        words = name.removesuffix("_mm").removesuffix("_deg").replace("_", " ")
        raise OptionError(f"the {kind}{words} must be between {least:g} and {most:g}, not {value:g}")
    if name in WHOLE_LIMITS and not isinstance(value, int | np.integer):
        raise OptionError(f"the limit {name} must be a whole number{or_none}, not {value!r}")
