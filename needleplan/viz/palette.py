"""One colour for each thing, the same in every picture, and the few sizes that pictures share.

Target, zone and margin bins differ in lightness and in line style too, so that they stay apart for a colour-blind
reader and in grey print; the margin bins take blue, yellow and vermillion of Okabe and Ito (Color Universal
Design, 2008).
"""

from dataclasses import dataclass

from needleplan.anatomy.model import StructureSurface
from needleplan.case.model import Role

BACKGROUND = "#14171c"
PANEL = "#1d2128"
INK = "#eceff3"
FAINT_INK = "#9aa3af"
TARGET = "#ffd84d"
ZONE = "#41d3e8"
MARGIN = "#ffffff"
NEEDLE = "#e9edf2"
HUB = "#ff8a3d"

#: Bins of the signed margin: tumour left, ablated with too little around it, covered with the margin asked for.
NOT_ABLATED = "#d55e00"
INSUFFICIENT = "#f0e442"
COVERED = "#0072b2"

#: Score of the best path from a patch of skin, best first: one hue, growing darker.
SKIN_SCORES = ("#dffcff", "#6fd3ee", "#2b86c4", "#123f86")
#: What blocks a patch of skin, the largest area first. Apart from the blue of the scores for every kind of colour
#: vision: Okabe and Ito's vermillion, orange and purple, Tol's olive, wine and rose (Colour Schemes, SRON 2021),
#: and greys that differ in lightness. Patches carry numbers too.
SKIN_BLOCKED = ("#737b87", "#d55e00", "#ddcc77", "#aa4499", "#7d7d22", "#f0a8b8", "#882255", "#c2c7cf")
SKIN_OTHERS = "#4a4036"
SKIN_NOT_EXAMINED = "#2c323b"

#: Colours of one needle after the other where needles must be told apart.
NEEDLES = ("#ff8a3d", "#a78bfa", "#34d399", "#f472b6", "#60a5fa", "#facc15", "#fb7185", "#2dd4bf")


@dataclass(frozen=True, slots=True)
class Look:
    """How a structure is drawn.

    Attributes:
        color: hexadecimal RGB.
        opacity: of its surface in the whole-patient view, 0 to 1.
        rim: opacity where the surface is seen edge on; makes translucent hulls readable.
        fill: opacity of its area in a plane.
        order: drawing order in a plane, from below.
    """

    color: str
    opacity: float
    rim: float
    fill: float
    order: int


_ROLES = {
    Role.SKIN: Look("#e6c8b4", 0.06, 0.62, 0.16, 0),
    Role.ENTRY_REGION: Look("#7bd88f", 0.25, 0.5, 0.0, 9),
    Role.ALLOWED: Look("#7bd88f", 0.12, 0.4, 0.0, 9),
    Role.NO_GO: Look("#ff4d6d", 0.25, 0.6, 0.18, 9),
    Role.LUNG: Look("#8fa3b8", 0.10, 0.35, 0.42, 1),
    Role.ORGAN: Look("#b5584a", 0.20, 0.55, 0.50, 2),
    Role.BOWEL: Look("#c9a06a", 0.65, 0.85, 0.50, 3),
    Role.CRITICAL: Look("#a8726a", 0.75, 0.95, 0.55, 3),
    Role.AIRWAY: Look("#9ed8d0", 0.8, 0.95, 0.55, 4),
    Role.BONE: Look("#ede3cb", 1.0, 1.0, 0.80, 5),
    Role.VESSEL: Look("#5877d8", 1.0, 1.0, 0.85, 6),
    Role.TARGET: Look(TARGET, 1.0, 1.0, 0.80, 8),
}

#: Words of a name that fix its colour; the first that fits wins. Arteries red, systemic veins blue and the portal
#: vein violet is the convention of liver atlases.
_WORDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("portal",), "#8a63d2"),
    (("arter", "aorta", "aort"), "#d83a34"),
    (("hepatic", "vein", "venous", "cava", "vena"), "#3f7fe0"),
    (("gallbladder", "bile", "biliary", "cholecyst"), "#5fae57"),
    (("kidney", "renal"), "#a9614f"),
    (("spleen",), "#8d5a86"),
    (("stomach",), "#d39a86"),
    (("colon", "bowel", "duoden", "intestin"), "#c9a06a"),
    (("pancreas",), "#d8b46a"),
    (("heart",), "#b8434d"),
    (("cyst",), "#7fb6c9"),
)
_TINTED_ROLES = frozenset({Role.VESSEL, Role.CRITICAL, Role.BOWEL})


def look_of(surface: StructureSurface) -> Look:
    """How ``surface`` is drawn: by its role, vessels and organs at risk by the words of their name."""
    look = _ROLES[surface.role]
    if surface.role in _TINTED_ROLES:
        name = surface.name.lower()
        for words, color in _WORDS:
            if any(word in name for word in words):
                return Look(color, look.opacity, look.rim, look.fill, look.order)
    return look


def needle_color(number: int) -> str:
    """Colour of the needle of that order, from 1; they repeat after eight."""
    return NEEDLES[(number - 1) % len(NEEDLES)]


def rgb(color: str) -> tuple[float, float, float]:
    """Hexadecimal colour as three numbers from 0 to 1."""
    return (int(color[1:3], 16) / 255, int(color[3:5], 16) / 255, int(color[5:7], 16) / 255)


def readable(name: str) -> str:
    """A structure's name as a reader expects it: ``portal_vein`` becomes ``portal vein``."""
    return name.replace("_", " ")
