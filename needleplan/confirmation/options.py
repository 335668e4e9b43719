"""What a confirmation asks for."""

import math
from dataclasses import dataclass
from enum import StrEnum

from needleplan.errors import OptionError

#: Margins about the tumour whose cover is measured (Laimer et al., Eur Radiol 2021;31:6489: 1 to 10 mm).
VOLUMETRIC_MM = tuple(range(1, 11))
#: A margin towards the inside of the organ is not told apart from greater ones beyond this.
FARTHEST_MM = 30.0


class CapsuleRule(StrEnum):
    """What a margin means where the tumour lies beside the organ's capsule."""

    INWARD = "inward"  #: only organ that was left counts, not the zone's end at or beyond the capsule
    EXCLUDED = "excluded"  #: that part of the surface is left out (Sandu et al., Front Oncol 2021;11:623098)
    NONE = "none"  #: the capsule is ignored


@dataclass(frozen=True, slots=True)
class ConfirmationOptions:
    """How an ablation is confirmed.

    Attributes:
        margin_mm: margin that was to be reached.
        capsule_mm: the tumour's surface lies beside the capsule where it is less than this below it; the rule
            ``excluded`` leaves it out there.
        capsule_rule: what counts as margin.
        draws: registration errors that are drawn for the spread of the least margin.
        seed: of these.
    """

    margin_mm: float = 5.0
    capsule_mm: float = 5.0
    capsule_rule: CapsuleRule = CapsuleRule.INWARD
    draws: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.margin_mm) and 0.0 <= self.margin_mm <= FARTHEST_MM):
            raise OptionError(f"the margin must lie between 0 and {FARTHEST_MM:g} mm, not {self.margin_mm!r}")
        if not (math.isfinite(self.capsule_mm) and 0.0 <= self.capsule_mm <= FARTHEST_MM):
            raise OptionError(f"the capsule's distance must be 0 to {FARTHEST_MM:g} mm, not {self.capsule_mm!r}")
        if not 20 <= self.draws <= 10_000 or self.seed < 0:
            raise OptionError("20 to 10000 registration errors are drawn, with a seed of zero or more")
