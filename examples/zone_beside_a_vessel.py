"""How a vessel takes heat from a microwave zone: the same antenna alone and with a vessel nearer and nearer.

    python examples/zone_beside_a_vessel.py [--out DIR] [--spacing-mm 1.5]

With --out the growth beside the nearest vessel is drawn and filmed. A model, not a measurement: the vessel is
straight, full of blood at body temperature, and the antenna a generic one.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from needleplan.ablation.heating import HeatOptions
from needleplan.ablation.microwave import MicrowaveModel
from needleplan.ablation.tissue_map import Cylinder, TissueMap, Vessel
from needleplan.ablation.zone_axes import zone_axes
from needleplan.devices.tissues import builtin_tissues
from needleplan.plan import Ablation, Insertion
from needleplan.viz.canvas import save_png
from needleplan.viz.zone_growth import GrowthRecorder, draw_growth, make_growth_film
from needleplan.viz.zone_looks import HEAT, DrawnPart, DrawnVessel, cylinder_mesh
from needleplan.viz.zone_scene import isotherm_layers, render_zone
from needleplan.viz.zone_section import plane_along

TIP = (0.0, 0.0, 0.0)
NEEDLE = (0.0, 1.0, 0.0)
ANTENNA, RADIATING_MM, SHAFT_MM = "generic-mwa-2450", 20.0, 2.41


@dataclass(frozen=True, slots=True)
class Row:
    """One vessel: its distance (axis to axis; None for no vessel) and what is left of the zone.

    ``towards_mm`` is how far the zone reaches from the needle towards the vessel, at the middle of the antenna.
    """

    distance_mm: float | None
    volume_ml: float
    least_diameter_mm: float
    towards_mm: float


def main(
    distances_mm: Sequence[float] = (20.0, 16.0, 12.0, 8.0),
    diameter_mm: float = 6.0,
    power_w: float = 60.0,
    duration_s: float = 300.0,
    spacing_mm: float = 1.5,
    out: Path | None = None,
) -> list[Row]:
    """Print a row for no vessel and for one at each distance; draw and film the last where ``out`` is a folder."""
    insertion = Insertion((0.0, -120.0, 0.0), TIP, ANTENNA, (Ablation(TIP, power_w, duration_s),))
    liver = builtin_tissues().tissue("liver")
    rows = []
    print(f"{ANTENNA}, {power_w:g} W for {duration_s / 60:g} min in liver, vessel of {diameter_mm:g} mm beside it")
    print("  distance mm  volume ml  least diameter mm  reaches mm")
    for distance in (None, *distances_mm):
        vessels: tuple[Vessel, ...] = ()
        if distance is not None:
            lumen = Cylinder((distance, -150.0, 0.0), (distance, 150.0, 0.0), 0.5 * diameter_mm)
            vessels = (Vessel("vessel", lumen, diameter_mm),)
        recorder = GrowthRecorder(plane_along(TIP, NEEDLE, (1.0, 0.0, 0.0)))
        options = HeatOptions(spacing_mm=spacing_mm, observe=recorder, observe_every_s=duration_s / 50)
        prediction = MicrowaveModel(options).predict([insertion], TissueMap(liver, vessels=vessels))
        axes = zone_axes(prediction.zone, TIP, NEEDLE)
        line = np.arange(0.0, 40.0, 0.05)[:, None] * (1.0, 0.0, 0.0) + (0.0, -0.5 * RADIATING_MM, 0.0)
        reached = line[prediction.zone.contains(line)]
        rows.append(Row(distance, axes.volume_ml, axes.least_diameter_mm, float(reached[:, 0].max(initial=0.0))))
        name = "none" if distance is None else f"{distance:g}"
        print(
            f"  {name:>11}  {axes.volume_ml:>9.1f}  {axes.least_diameter_mm:>17.1f}  {rows[-1].towards_mm:>10.1f}"
        )
    if out is not None:
        _draw(out, recorder, vessels, f"{power_w:g} W, vessel of {diameter_mm:g} mm at {distances_mm[-1]:g} mm")
    return rows


def _draw(out: Path, recorder: GrowthRecorder, vessels: Sequence[Vessel], caption: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    back = (0.0, -RADIATING_MM, 0.0)
    parts = (DrawnPart((0.0, -100.0, 0.0), back, SHAFT_MM, False), DrawnPart(back, TIP, SHAFT_MM, True))
    drawn = [DrawnVessel(one.name, cylinder_mesh(one.solid)) for one in vessels if isinstance(one.solid, Cylinder)]
    save_png(out / "growth.png", draw_growth(recorder.frames, parts, drawn, title=f"{ANTENNA}, {caption}"))
    make_growth_film(out / "growth.mp4", recorder.frames, parts, drawn, title=ANTENNA, caption=caption)
    if recorder.extreme is not None:
        layers = isotherm_layers(recorder.extreme, HEAT)
        save_png(out / "isotherms.png", render_zone(layers, parts, drawn, title=ANTENNA, caption=caption))
    print(f"pictures and film in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--spacing-mm", type=float, default=1.5)
    arguments = parser.parse_args()
    main(spacing_mm=arguments.spacing_mm, out=arguments.out)
