"""A small scene made by hand: oblique axes, nested bodies, a zone that grows, and names meant to break a page."""

import base64
import gzip

import numpy as np
import trimesh

HOSTILE = "</script><img src=x onerror=\"window.broken=1\"> & 'liver' ‮olleh"
CENTRE_MM = np.array([31.0, -112.0, 840.0])
BREATH_MM = 12.0
_STEP_MM = 0.05


def _rotation():
    """Columns left, posterior, superior of a frame turned about an oblique axis."""
    return trimesh.transformations.rotation_matrix(0.5, [1.0, 2.0, -0.7])[:3, :3]


AXES = _rotation()
LEFT, POSTERIOR, SUPERIOR = AXES.T


def packed(values, dtype, *, squeezed=True):
    kinds = {"u8": "<u1", "u16": "<u2", "u32": "<u4", "i16": "<i2", "f32": "<f4"}
    data = np.ascontiguousarray(values).astype(kinds[dtype])
    raw = gzip.compress(data.tobytes(), 6, mtime=0) if squeezed else data.tobytes()
    return {
        "dtype": dtype,
        "shape": list(data.shape),
        "data": base64.b64encode(raw).decode(),
        "gzip": squeezed,
    }


def quantised(points_mm):
    low = points_mm.min(axis=0)
    return {
        "low_mm": low.tolist(),
        "step_mm": _STEP_MM,
        "array": packed(np.rint((points_mm - low) / _STEP_MM), "u16"),
    }


def world_mm(local_mm):
    """Points given along left, posterior, superior of the oblique frame."""
    return CENTRE_MM + np.asarray(local_mm) @ AXES.T


def ball(radii_mm, middle_mm=(0.0, 0.0, 0.0), level=3):
    mesh = trimesh.creation.icosphere(subdivisions=level)
    return mesh.vertices * np.asarray(radii_mm) + np.asarray(middle_mm), mesh.faces


def body(identity, name, group, colour, opacity, shape, *, breath=False, **more):
    local, faces = shape
    made = {
        "id": identity,
        "name": name,
        "group": group,
        "colour": colour,
        "opacity": opacity,
        "shown": True,
        "points": quantised(world_mm(local)),
        "faces": packed(faces, "u16" if len(local) < 65536 else "u32", squeezed=False),
        **more,
    }
    if breath:
        shift = np.tile(-BREATH_MM * SUPERIOR / 0.01, (len(local), 1))
        made["breath"] = packed(np.rint(shift), "i16")
        made["breath_step_mm"] = 0.01
    return made


def ring(radius_mm, middle=(0.0, 0.0)):
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.column_stack([np.cos(angle), np.sin(angle)]) * radius_mm + np.asarray(middle)


def _planes():
    views = []
    offsets = np.arange(-30.0, 31.0, 5.0)
    for identity, letters, axis, right, down in (
        ("axial", "RLAP", SUPERIOR, LEFT, POSTERIOR),
        ("sagittal", "APSI", LEFT, POSTERIOR, -SUPERIOR),
        ("coronal", "RLSI", POSTERIOR, LEFT, -SUPERIOR),
    ):
        slices = []
        for offset in offsets:
            contours = [{"body": "s:skin", "loops": [ring(95.0).tolist()], "filled": False}]
            for name, radius in (("s:liver", 60.0), ("t:target", 12.0), ("z:zone", 19.0)):
                if radius > abs(offset):
                    loop = quantised(ring(np.sqrt(radius**2 - offset**2)))
                    contours.append({"body": name, "loops": [loop], "filled": name != "z:zone"})
            slices.append({"offset_mm": float(offset), "contours": contours})
        views.append(
            {
                "id": identity,
                "title": identity.capitalize(),
                "letters": dict(zip(("left", "right", "top", "bottom"), letters, strict=True)),
                "axis": axis.tolist(),
                "right": right.tolist(),
                "down": down.tolist(),
                "window_mm": [-110.0, 110.0, -90.0, 90.0],
                "slices": slices,
            }
        )
    return {"note": "Cut at the end of exhale.", "views": views}


def _margin():
    rows, columns = 24, 48
    values = 4.0 + 6.0 * np.sin(np.linspace(0, 3.1, rows))[:, None] * np.cos(np.linspace(0, 6.2, columns))
    bins = ((-5.0, 0.0, "#d55e00"), (0.0, 5.0, "#f0e442"), (5.0, 15.0, "#0072b2"))
    return {
        "asked_mm": 5.0,
        "least_mm": float(values.min()),
        "note": "Seen from the target's middle.",
        "histogram": [
            {
                "low_mm": low,
                "high_mm": high,
                "colour": colour,
                "area_share": float(((values >= low) & (values < high)).mean()),
            }
            for low, high, colour in bins
        ],
        "map": {
            "columns": columns,
            "rows": rows,
            "values_mm": packed(values, "f32"),
            "x_label": "around the body's axis",
            "y_label": "feet to head",
        },
    }


def made_scene():
    """The scene as data; bodies are ellipsoids around an oblique centre."""
    needles = []
    for order, (entry, tip, colour) in enumerate(
        (((-70.0, -62.0, 10.0), (-2.0, 3.0, 2.0), "#ff8a3d"), ((-55.0, -75.0, -20.0), (4.0, 5.0, -3.0), "#a78bfa")),
        start=1,
    ):
        needles.append(
            {
                "order": order,
                "entry_mm": world_mm(entry).tolist(),
                "tip_mm": world_mm(tip).tolist(),
                "radius_mm": 1.2,
                "colour": colour,
                "label": f"needle {order}",
                "applicator": "made",
            }
        )
    target = ball((12, 12, 12))
    shade = np.where(target[0][:, :1] > 0, [[0, 114, 178]], [[240, 228, 66]])
    growth = [
        body(f"g:{k}", f"zone at {k}", "zones", "#41d3e8", 0.35, ball(np.full(3, 6.0 + 5.0 * k)), moment=k)
        for k in range(3)
    ]
    return {
        "schema": "needleplan.scene",
        "version": 1,
        "title": HOSTILE,
        "centre_mm": CENTRE_MM.tolist(),
        "radius_mm": 120.0,
        "axes": {"left": LEFT.tolist(), "posterior": POSTERIOR.tolist(), "superior": SUPERIOR.tolist()},
        "toward": (-POSTERIOR).tolist(),
        "up": SUPERIOR.tolist(),
        "bodies": [
            body("s:skin", "skin", "structures", "#e6c8b4", 0.1, ball((95, 80, 110))),
            body("s:liver", HOSTILE, "structures", "#b5584a", 0.3, ball((60, 55, 50)), breath=True),
            body("s:rib", "rib", "structures", "#ede3cb", 1.0, ball((6, 40, 6), (-75, 0, -45)), pattern="dots"),
            body("t:target", "tumour", "target", "#ffd84d", 1.0, target, colours=packed(shade, "u8"), breath=True),
            body("z:zone", "zone planned", "zones", "#41d3e8", 0.3, ball((19, 19, 19)), pattern="stripes"),
            *growth,
        ],
        "needles": needles,
        "breath": {"label": "Lujan, 12 mm in 4 s", "period_s": 4.0, "note": "Needles stay where they are."},
        "growth": {
            "label": "by Pennes",
            "moments": [
                {"label": f"{k}:00 min", "time_s": 60.0 * k, "volume_ml": 4.18879e-3 * (6.0 + 5.0 * k) ** 3}
                for k in range(3)
            ],
        },
        "planes": _planes(),
        "margin": _margin(),
    }


def grown_scene():
    """The same with contours of every moment of growth in the slices through the centre."""
    made = made_scene()
    for view in made["planes"]["views"]:
        (middle,) = [one for one in view["slices"] if one["offset_mm"] == 0.0]
        middle["contours"] += [
            {"body": f"g:{k}", "loops": [ring(6.0 + 5.0 * k).tolist()], "filled": False} for k in range(3)
        ]
    return made
