"""One motion of a needle through layers: the compiled part of :mod:`sim.layered_force`.

Every force comes from an elastic element in series with a slider of limited force, all in parallel on the
needle: one at the tip for cutting, one before the tip for the membrane that it presses, and one along the shaft
for each layer. Each elastic element has a lasting share and two Maxwell branches with the same law, whose own
stretches relax exponentially. Springs store, branches and sliders only lose: so no motion can bring out more
work than went in.
"""

from typing import Any

import numpy as np

from needleplan.compiled import compiled

#: Places in the memory; behind them five for each layer: stretch of the shaft's element and of its two branches,
#: stiction, inserted length.
DEPTH, RECOIL, CUT, CUT_FAST, CUT_SLOW, PRESSED, PRESSED_FAST, PRESSED_SLOW = range(8)
TOUCHING, PASSED, DEEPEST, TIP, LIMIT_BEFORE = range(8, 13)
HEADER, PER_LAYER = 13, 5
#: Places in the figures that hold for all layers.
(
    STATIC_IN,
    STATIC_OUT,
    DYNAMIC_IN,
    DYNAMIC_OUT,
    VISCOUS_IN,
    VISCOUS_OUT,
    SHEAR,
    CUT_STIFFNESS,
    WEAKENING,
    AGEING,
    RECOIL_S,
    FAST,
    FAST_S,
    SLOW,
    SLOW_S,
    TRANSITION,
) = range(16)
FIGURES = 16

#: Depths nearer than this are the same: the tip stands at the end of its channel.
SAME_DEPTH_M = 1e-9


@compiled
def _slide(
    stretch: float, fast: float, slow: float, move: float, keep: Any, part: Any, share: Any, k: float, high: float,
    low: float,
) -> tuple[float, float, float, float, float]:  # fmt: skip
    """A linear element in series with a slider is moved: its new stretches, its force, and how far it slipped.

    ``keep`` is what the branches keep over the step, ``part`` how much of the motion they take up, both exact for a
    constant speed. Where the force would pass a limit the slider takes the rest of the motion.
    """
    lasting = 1.0 - share[0] - share[1]
    held = lasting * stretch + share[0] * fast * keep[0] + share[1] * slow * keep[1]
    stiff = lasting + share[0] * part[0] + share[1] * part[1]
    force = k * (held + stiff * move)
    moved = move
    if force > high:
        moved = (high / k - held) / stiff
        force = high
    elif force < low:
        moved = (low / k - held) / stiff
        force = low
    return (
        stretch + moved,
        fast * keep[0] + part[0] * moved,
        slow * keep[1] + part[1] * moved,
        force,
        move - moved,
    )


@compiled
def _law(u: float, linear: float, quadratic: float) -> float:
    """The force a1 u + a2 u², odd in u."""
    return linear * u + quadratic * u * abs(u)


@compiled
def _cutting(memory: Any, starts: Any, cutting: Any, figures: Any) -> float:
    """The cutting force where the tip is."""
    layer = int(memory[PASSED]) - 1
    gone = np.exp(-max(0.0, memory[TIP] - starts[layer]) / figures[TRANSITION])
    return cutting[layer] + (memory[LIMIT_BEFORE] - cutting[layer]) * gone


@compiled
def _cut(memory: Any, move: float, keep: Any, part: Any, share: Any, k: float, limit: float) -> float:
    """Move the element at the tip and return its force; what it gives up by itself springs back in time."""
    before = memory[CUT]
    memory[CUT], memory[CUT_FAST], memory[CUT_SLOW], force, slip = _slide(
        before, memory[CUT_FAST], memory[CUT_SLOW], move, keep, part, share, k, limit, 0.0
    )
    if slip > 0.0 and memory[CUT] < before:
        memory[RECOIL] += before - memory[CUT]
    return force


@compiled
def _note(events: Any, row: int, layer: int, time_s: float, depth: float, force: float) -> None:
    events[row, 0], events[row, 1], events[row, 2], events[row, 3] = layer, time_s, depth, force


@compiled
def advance(
    memory: Any, starts: Any, membranes: Any, cutting: Any, friction: Any, figures: Any, target: float,
    duration: float, parts: int, force: float, events: Any,
) -> tuple[int, float, float, float]:  # fmt: skip
    """Move the hub on to ``target`` in ``duration`` seconds, in ``parts`` equal parts.

    Args:
        memory: (HEADER + PER_LAYER n,) changed in place.
        starts: (n,) where the layers begin.
        membranes: (n, 3) linear and quadratic stiffness and puncture force; 0 for no membrane.
        cutting: (n,) cutting force.
        friction: (n,) factor of the friction.
        figures: (FIGURES,) what holds for all layers.
        target: depth of the hub after the motion.
        duration: of the motion.
        parts: number of parts.
        force: on the hub before.
        events: (n, 4) filled with layer, time since the beginning, depth of the hub and force on the tip.

    Returns:
        Number of events, force on the tip, friction along the shaft, work on the hub by the trapezoidal rule.
    """
    n = len(starts)
    begun = memory[DEPTH]
    ds, h = (target - begun) / parts, duration / parts
    speed = abs(ds) / h
    share = np.array((figures[FAST], figures[SLOW]))
    keep = np.array((np.exp(-h / figures[FAST_S]), np.exp(-h / figures[SLOW_S])))
    part = np.array(((1.0 - keep[0]) * figures[FAST_S] / h, (1.0 - keep[1]) * figures[SLOW_S] / h))
    now = np.ones(2)  # for what happens in no time
    springing_back = np.exp(-h / figures[RECOIL_S])
    ageing = 1.0 - np.exp(-h / figures[AGEING])
    cut_k = figures[CUT_STIFFNESS]
    count = 0
    tip_force = rubbing = work = 0.0
    for i in range(parts):
        depth = target if i + 1 == parts else begun + (i + 1) * ds
        memory[DEPTH] = depth
        passed = int(memory[PASSED])
        limit = 0.0
        if passed > 0 and memory[TIP] >= memory[DEEPEST] - SAME_DEPTH_M:
            limit = _cutting(memory, starts, cutting, figures)
        cut_force = _cut(memory, ds, keep, part, share, cut_k, limit)
        press = 0.0
        if memory[TOUCHING] > 0.0:
            a1, a2, enough = membranes[passed]
            memory[PRESSED] += ds
            memory[PRESSED_FAST] = memory[PRESSED_FAST] * keep[0] + part[0] * ds
            memory[PRESSED_SLOW] = memory[PRESSED_SLOW] * keep[1] + part[1] * ds
            press = (
                (1.0 - share[0] - share[1]) * _law(memory[PRESSED], a1, a2)
                + share[0] * _law(memory[PRESSED_FAST], a1, a2)
                + share[1] * _law(memory[PRESSED_SLOW], a1, a2)
            )
            gives_way = cut_force + press >= enough
            if gives_way:
                _note(events, count, passed, (i + 1) * h, depth, cut_force + press)
                count += 1
                passed += 1
                memory[PASSED] = passed
            if gives_way or press <= 0.0:
                press = 0.0
                memory[TOUCHING] = memory[PRESSED] = memory[PRESSED_FAST] = memory[PRESSED_SLOW] = 0.0
                if gives_way:
                    memory[LIMIT_BEFORE] = cutting[passed - 1]
                    cut_force = _cut(memory, 0.0, now, now, share, cut_k, cutting[passed - 1])
                # Tissue keeps its place for the moment and then springs back, along the needle.
                memory[RECOIL] = depth - memory[TIP] - memory[CUT]
        else:
            memory[RECOIL] *= springing_back
            tip = depth - memory[CUT] - memory[RECOIL]
            while passed < n and tip >= starts[passed]:
                if membranes[passed, 2] > cut_force:
                    # What the hub has moved behind the membrane presses it already.
                    memory[TOUCHING] = 1.0
                    behind = min(tip - starts[passed], max(ds, 0.0))
                    memory[PRESSED] = memory[PRESSED_FAST] = memory[PRESSED_SLOW] = behind
                    press = _law(behind, membranes[passed, 0], membranes[passed, 1])
                    tip = starts[passed]
                    break
                # Without a membrane one cutting force passes into the next over a length, with one at once.
                memory[LIMIT_BEFORE] = limit
                passed += 1
                memory[PASSED] = passed
                if membranes[passed - 1, 2] > 0.0:
                    _note(events, count, passed - 1, (i + 1) * h, depth, cut_force)
                    count += 1
                    memory[LIMIT_BEFORE] = cutting[passed - 1]
                    cut_force = _cut(memory, 0.0, now, now, share, cut_k, cutting[passed - 1])
            memory[TIP] = tip
            memory[DEEPEST] = max(memory[DEEPEST], tip)
            if depth <= starts[0]:
                # Out of the tissue: what is left of its stretch at the tip has nothing to hold on to.
                memory[CUT] = memory[CUT_FAST] = memory[CUT_SLOW] = memory[RECOIL] = 0.0
                memory[TIP] = depth
                cut_force = 0.0
        tip_force = cut_force + press
        rubbing = _rub(memory, starts, friction, figures, ds, speed, ageing, keep, part, share)
        work += 0.5 * (force + tip_force + rubbing) * ds
        force = tip_force + rubbing
    return count, tip_force, rubbing, work


@compiled
def _rub(
    memory: Any, starts: Any, friction: Any, figures: Any, ds: float, speed: float, ageing: float, keep: Any,
    part: Any, share: Any,
) -> float:  # fmt: skip
    """Friction along the whole shaft after a motion by ``ds``.

    The stretch of a layer is the mean over the inserted length: what is newly entered comes unstretched.
    """
    n = len(starts)
    total = 0.0
    for j in range(n):
        at = HEADER + PER_LAYER * j
        end = starts[j + 1] if j + 1 < n else np.inf
        length = min(memory[TIP], end) - starts[j]
        if length <= 0.0:
            memory[at] = memory[at + 1] = memory[at + 2] = memory[at + 4] = 0.0
            memory[at + 3] = 1.0
            continue
        before = memory[at + 4]
        if length > before:
            thin = before / length
            memory[at] *= thin
            memory[at + 1] *= thin
            memory[at + 2] *= thin
        memory[at + 4] = length
        stuck = memory[at + 3]
        high = friction[j] * (
            figures[DYNAMIC_IN] + stuck * (figures[STATIC_IN] - figures[DYNAMIC_IN]) + figures[VISCOUS_IN] * speed
        )
        low = -friction[j] * (
            figures[DYNAMIC_OUT]
            + stuck * (figures[STATIC_OUT] - figures[DYNAMIC_OUT])
            + figures[VISCOUS_OUT] * speed
        )
        memory[at], memory[at + 1], memory[at + 2], force, slip = _slide(
            memory[at],
            memory[at + 1],
            memory[at + 2],
            ds,
            keep,
            part,
            share,
            figures[SHEAR] * friction[j],
            high,
            low,
        )
        if slip != 0.0:
            memory[at + 3] = stuck * np.exp(-abs(slip) / figures[WEAKENING])
        else:
            memory[at + 3] = stuck + (1.0 - stuck) * ageing
        total += length * force
    return total
