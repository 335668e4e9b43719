"""The lateral shape of a needle between its guide and the tissue: the compiled part of :mod:`sim.needle_channel`.

A beam on an elastic foundation (Hetényi 1946): of all deflections w it takes the one of least energy
``1/2 EI |w'' - b|² + 1/2 k |w - c|²``, the first over the whole length, the second over the length in tissue. There
c is how far the channel lies beside the straight axis and b the curvature to which the tip has been steered.
Cubic elements: exact where nothing loads the shaft, so that the stretch in the air is a spring at its end, and
the stretch ahead of the channel is straight. Millimetres and newtons.
"""

from typing import Any

import numpy as np

from needleplan.compiled import compiled

#: Elements over the length in tissue.
ELEMENTS = 16
#: Free lengths are no shorter than this, so that a clamp at the skin stays a number.
SHORTEST_FREE_MM = 1e-3
#: Less channel than this bends nothing.
SHORTEST_HELD_MM = 1e-2
#: Four points and weights of Gauss's rule from 0 to 1: exact for products of two cubics.
_POINTS = (0.06943184420297371, 0.33000947820757187, 0.6699905217924281, 0.9305681557970263)
_WEIGHTS = (0.17392742256872693, 0.32607257743127307, 0.32607257743127307, 0.17392742256872693)
#: Unknowns that an element couples.
_WIDTH = 4


@compiled
def bent_shaft(
    channel: Any, steered: Any, exit_mm: Any, axis: Any, reach: float, push: float, fading: float,
    rigidity: float, stiffness: float, clamped: bool,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Shape of a shaft along an axis, relative to it.

    Args:
        channel: (m, 3) points of the channel in the room, from the skin inwards.
        steered: (m, 3) curvature of the piece of channel that ends at each point, 1/mm; its part across counts.
        exit_mm: (3,) end of the guide.
        axis: (3,) unit vector of the guide.
        reach: length of needle beyond the guide.
        push: how far the tip pushes the tissue before it along the axis.
        fading: length over which that push fades, as in :mod:`sim.tissue_push`.
        rigidity: E I, N mm².
        stiffness: k of the tissue, N/mm².
        clamped: True where the guide holds position and direction at its end; False for a needle held by tissue
            alone.

    Returns:
        Places (n + 1,) along the axis, deflections (n + 1, 3) and slopes (n + 1, 3) there; the last is where the
        channel ends or the needle.
    """
    m = len(channel)
    along, beside = np.empty(m), np.empty((m, 3))
    for j in range(m):
        s = 0.0
        for a in range(3):
            s += (channel[j, a] - exit_mm[a]) * axis[a]
        for a in range(3):
            beside[j, a] = channel[j, a] - exit_mm[a] - s * axis[a]
        away = (s - (reach - push)) / fading
        s += push * np.exp(1.0 - np.sqrt(1.0 + away * away))
        # Where tissue has slid past itself the channel may step back along the axis.
        along[j] = max(s, along[j - 1]) if j > 0 else s
    begin = max(along[0], 0.0) if clamped else along[0]
    end = min(along[m - 1], reach)
    places = np.empty(ELEMENTS + 1)
    h = max(end - begin, 0.0) / ELEMENTS
    for i in range(ELEMENTS + 1):
        places[i] = begin + i * h
    offsets, slopes = np.zeros((ELEMENTS + 1, 3)), np.zeros((ELEMENTS + 1, 3))
    if end - begin < SHORTEST_HELD_MM:
        return places, offsets, slopes
    band = np.zeros((2 * (ELEMENTS + 1), _WIDTH))
    right = np.zeros((2 * (ELEMENTS + 1), 3))
    if clamped:
        free = max(begin, SHORTEST_FREE_MM)
        spring = rigidity / free**3
        band[0, 0] += 12.0 * spring
        band[0, 1] -= 6.0 * spring * free
        band[1, 0] += 4.0 * spring * free * free
    _assemble(band, right, along, beside, steered, axis, begin, h, rigidity, stiffness)
    _solve(band, right)
    for i in range(ELEMENTS + 1):
        for a in range(3):
            offsets[i, a] = right[2 * i, a]
            slopes[i, a] = right[2 * i + 1, a]
    return places, offsets, slopes


@compiled
def _assemble(
    band: Any, right: Any, along: Any, beside: Any, steered: Any, axis: Any, begin: float, h: float,
    rigidity: float, stiffness: float,
) -> None:  # fmt: skip
    """Add bending and foundation of all elements; ``band[i, d]`` couples the unknowns i and i + d."""
    shape, bent = np.empty(_WIDTH), np.empty(_WIDTH)
    m = len(along)
    j = 1
    for e in range(ELEMENTS):
        for g in range(4):
            x, weight = _POINTS[g], _WEIGHTS[g] * h
            s = begin + (e + x) * h
            while j < m - 1 and along[j] < s:
                j += 1
            gap = along[j] - along[j - 1]
            t = min(max((s - along[j - 1]) / gap, 0.0), 1.0) if gap > 0.0 else 1.0
            shape[0] = 1.0 - 3.0 * x * x + 2.0 * x**3
            shape[1] = h * (x - 2.0 * x * x + x**3)
            shape[2] = 3.0 * x * x - 2.0 * x**3
            shape[3] = h * (x**3 - x * x)
            bent[0] = (12.0 * x - 6.0) / (h * h)
            bent[1] = (6.0 * x - 4.0) / h
            bent[2] = (6.0 - 12.0 * x) / (h * h)
            bent[3] = (6.0 * x - 2.0) / h
            lengthwise = 0.0
            for a in range(3):
                lengthwise += steered[j, a] * axis[a]
            for p in range(_WIDTH):
                row = 2 * e + p
                for q in range(p, _WIDTH):
                    band[row, q - p] += weight * (rigidity * bent[p] * bent[q] + stiffness * shape[p] * shape[q])
                for a in range(3):
                    aside = beside[j - 1, a] + t * (beside[j, a] - beside[j - 1, a])
                    curved = steered[j, a] - lengthwise * axis[a]
                    right[row, a] += weight * (stiffness * aside * shape[p] + rigidity * curved * bent[p])


@compiled
def _solve(band: Any, right: Any) -> None:
    """Solve a symmetric positive definite band in place by L D Lᵀ; the answer replaces ``right`` (n, 3)."""
    n = len(band)
    for i in range(n):
        for d in range(1, min(_WIDTH, n - i)):
            factor = band[i, d] / band[i, 0]
            for f in range(d, min(_WIDTH, n - i)):
                band[i + d, f - d] -= factor * band[i, f]
            for a in range(3):
                right[i + d, a] -= factor * right[i, a]
    for i in range(n - 1, -1, -1):
        for a in range(3):
            value = right[i, a]
            for d in range(1, min(_WIDTH, n - i)):
                value -= band[i, d] * right[i + d, a]
            right[i, a] = value / band[i, 0]
