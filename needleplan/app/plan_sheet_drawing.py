"""The two little drawings of a plan sheet that say how its angles are counted."""

import math

from needleplan.app.report_template import Html
from needleplan.case.model import Case
from needleplan.trajectory.gantry_angles import drawn_right, positive_side

_TEXT = 'font-family="inherit" font-size="8.5"'
_OTHER = {"left": "right", "front": "back"}


def axial_drawing(case: Case) -> Html:
    """The axial slice seen from the feet with a needle at a positive angle."""
    side = positive_side(case)
    turned = drawn_right(case)
    names = (_OTHER[side], side) if turned > 0 else (side, _OTHER[side])
    angle = math.radians(32)
    tip = (75.0, 62.0)
    entry = (tip[0] - turned * 60 * math.sin(angle), tip[1] - 60 * math.cos(angle))
    arc = (tip[0] - turned * 34 * math.sin(angle), tip[1] - 34 * math.cos(angle))
    return Html(
        '<svg viewBox="0 0 150 104" role="img" aria-label="in-plane angle">'
        '<ellipse cx="75" cy="54" rx="56" ry="32" fill="#eef2f6" stroke="#9aa7b5"/>'
        '<path d="M8 90 H142" stroke="#55616f" stroke-width="3"/>'
        f'<path d="M{tip[0]} 8 V{tip[1]}" stroke="#55616f" stroke-dasharray="3 2.5" fill="none"/>'
        f'<path d="M{entry[0]:.1f} {entry[1]:.1f} L{tip[0]} {tip[1]}" stroke="#a1003c" stroke-width="2.6"/>'
        f'<circle cx="{tip[0]}" cy="{tip[1]}" r="2.6" fill="#a1003c"/>'
        f'<path d="M{tip[0]} {tip[1] - 34} A34 34 0 0 {0 if turned > 0 else 1} {arc[0]:.1f} {arc[1]:.1f}" '
        'fill="none" stroke="#a1003c"/>'
        f'<text x="{tip[0] - turned * 12}" y="{tip[1] - 38}" text-anchor="middle" {_TEXT} fill="#a1003c">+</text>'
        f'<text x="2" y="57" {_TEXT}>{names[0]}</text>'
        f'<text x="148" y="57" text-anchor="end" {_TEXT}>{names[1]}</text>'
        f'<text x="75" y="101" text-anchor="middle" {_TEXT}>table</text></svg>'
    )


def side_drawing() -> Html:
    """The patient from the side with a needle out of the slice, and the tilted slice that holds it."""
    angle = math.radians(24)
    tip = (82.0, 60.0)
    entry = (tip[0] - 54 * math.sin(angle), tip[1] - 54 * math.cos(angle))
    ends = [(tip[0] + k * math.sin(angle), tip[1] + k * math.cos(angle)) for k in (-62, 26)]
    return Html(
        '<svg viewBox="0 0 150 104" role="img" aria-label="out-of-plane angle and gantry tilt">'
        '<rect x="14" y="30" width="122" height="50" rx="22" fill="#eef2f6" stroke="#9aa7b5"/>'
        '<path d="M8 90 H142" stroke="#55616f" stroke-width="3"/>'
        f'<path d="M{tip[0]} 4 V86" stroke="#55616f" stroke-dasharray="3 2.5"/>'
        f'<path d="M{ends[0][0]:.1f} {ends[0][1]:.1f} L{ends[1][0]:.1f} {ends[1][1]:.1f}" stroke="#1c5d99" '
        'stroke-width="1.2"/>'
        f'<path d="M{entry[0]:.1f} {entry[1]:.1f} L{tip[0]} {tip[1]}" stroke="#a1003c" stroke-width="2.6"/>'
        f'<circle cx="{tip[0]}" cy="{tip[1]}" r="2.6" fill="#a1003c"/>'
        f'<text x="{tip[0] + 3}" y="11" {_TEXT}>slice</text>'
        f'<text x="{ends[0][0] - 3:.1f}" y="11" text-anchor="end" {_TEXT} fill="#1c5d99">tilt −</text>'
        f'<text x="{tip[0] + 5}" y="{tip[1] + 10}" {_TEXT} fill="#a1003c">out of plane +</text>'
        f'<text x="2" y="101" {_TEXT}>feet</text><text x="148" y="101" text-anchor="end" {_TEXT}>head</text></svg>'
    )
