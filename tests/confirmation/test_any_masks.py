"""Masks of any shape give figures that fit together, or a named error."""

import json
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from needleplan.confirmation.alignment import same_frame
from needleplan.confirmation.confirm import confirm
from needleplan.confirmation.options import CapsuleRule, ConfirmationOptions
from needleplan.confirmation.record import confirmation_to_json, margin_table
from needleplan.errors import NeedleplanError
from needleplan.grid import Grid, VoxelMask
from needleplan.registration.rotations import rotations_of


def _mask(seed, shape, share, spacing, turn):
    rng = np.random.default_rng(seed)
    inside = rng.random(shape) < share
    inside[tuple(n // 2 for n in shape)] = True
    matrix = np.eye(4)
    matrix[:3, :3] = rotations_of(turn) @ np.diag(spacing)
    matrix[:3, 3] = -matrix[:3, :3] @ (np.array(shape) / 2.0)
    return VoxelMask.cropped(Grid(shape, matrix), inside)


MASKS = st.builds(
    _mask,
    st.integers(0, 1000),
    st.tuples(*[st.integers(1, 9)] * 3),
    st.sampled_from([0.0, 0.1, 0.6, 1.0]),
    st.tuples(*[st.sampled_from([0.1, 0.7, 1.0, 5.0])] * 3),
    st.tuples(*[st.floats(-2, 2)] * 3),
)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(MASKS, MASKS, st.none() | MASKS, st.sampled_from(CapsuleRule), st.sampled_from([None, 1.0]))
def test_any_masks_are_measured_or_refused(tumour, zone, organ, rule, error_mm):
    options = ConfirmationOptions(capsule_rule=rule, draws=20)
    try:
        found = confirm(tumour, zone, same_frame(error_mm), organ_before=organ, options=options)
    except NeedleplanError as error:
        assert len(str(error)) > 20
        return
    content = confirmation_to_json(found, {"tumour": tumour, "zone": zone})
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    shares = found.margins.shares
    assert math.isclose(shares.uncovered + shares.short + shares.reached, 1.0)
    assert min(shares.uncovered, shares.short, shares.reached) >= -1e-12
    assert 0.0 <= found.coverage <= 1.0
    assert (found.margins.margins_mm >= found.margins.plain_margins_mm - 1e-9).all()
    assert not (found.reached and found.tumour_left)
    assert len(margin_table(found.margins).splitlines()) == len(found.margins.mesh.vertices_mm) + 1
    covered = [one.volume_ml for one in found.volumetric]
    assert covered == sorted(covered)
