"""The answer to a question of the zone command: the predicted zone, measured, in words and in plain values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from needleplan.ablation.contract import ZonePrediction
from needleplan.ablation.ellipsoid import EllipsoidTableModel
from needleplan.ablation.heating import HeatSnapshot
from needleplan.ablation.tissue_map import LEAST_VESSEL_DIAMETER_MM
from needleplan.ablation.zone_axes import ZoneAxes, zone_axes
from needleplan.app.zone import DIRECTION, ZoneQuestion
from needleplan.app.zone_models import model_for, pulse_protocol
from needleplan.errors import DeviceError
from needleplan.io.value_json import to_json

SCHEMA, VERSION = "needleplan.zone", 1


@dataclass(frozen=True, slots=True, eq=False)
class ZoneAnswer:
    """The answer to a question of the zone command.

    Attributes:
        question: what was asked.
        model: name of the model.
        notes: of the model and of its prediction.
        prediction: zones, fields and quantities.
        axes: extents of the zone.
        other_axes: extents by other criteria, in the order of ``prediction.other_zones``.
        table: extents that the applicator's zone table has for the setting; None where it has none.
    """

    question: ZoneQuestion
    model: str
    notes: tuple[str, ...]
    prediction: ZonePrediction
    axes: ZoneAxes
    other_axes: Mapping[str, ZoneAxes]
    table: ZoneAxes | None


def answer_of(question: ZoneQuestion, observe: Callable[[HeatSnapshot], None] | None = None) -> ZoneAnswer:
    """Predict and measure the zone that a question asks for; arguments and errors as of ``model_for``."""
    model = model_for(question, observe)
    prediction = model.predict(question.insertions, question.block)
    tip = question.insertions[0].tip_mm
    return ZoneAnswer(
        question,
        model.name,
        tuple(dict.fromkeys((*model.notes, *prediction.notes, *_vessel_notes(question, prediction)))),
        prediction,
        zone_axes(prediction.zone, tip, DIRECTION),
        {words: zone_axes(zone, tip, DIRECTION) for words, zone in prediction.other_zones.items()},
        _table_axes(question),
    )


def _vessel_notes(question: ZoneQuestion, prediction: ZonePrediction) -> tuple[str, ...]:
    """Why a vessel that was asked for changes nothing; empty where it does, or where none was asked for."""
    vessel, diameter_mm = question.vessel, question.vessel_diameter_mm
    if vessel is None or diameter_mm is None:
        return ()
    if diameter_mm < LEAST_VESSEL_DIAMETER_MM:
        return (
            f"The vessel of {diameter_mm:g} mm changes nothing: vessels below {LEAST_VESSEL_DIAMETER_MM:g} mm are "
            "taken as tissue.",
        )
    if not any(vessel.contains(field.grid.centres_mm()).any() for field in prediction.fields.values()):
        return ("The vessel changes nothing: it lies beyond the box of voxels that was computed.",)
    return ()


def _table_axes(question: ZoneQuestion) -> ZoneAxes | None:
    """What the zone table has for one probe at this setting; None where it has nothing."""
    if question.model == "table" or question.probes > 1:
        return None
    table = ZoneQuestion(question.applicator, question.power_w, question.duration_s, "table", question.setting)
    try:
        zone = EllipsoidTableModel(setting=table.setting).zone(table.insertions)
    except DeviceError:
        return None
    return zone_axes(zone, table.insertions[0].tip_mm, DIRECTION)


def setting_words(question: ZoneQuestion) -> str:
    """Power and time, or pulses, or freezes, in words."""
    minutes = f"{question.energy_s / 60:g} min"
    modality = question.device.modality
    if modality in ("IRE", "ECT"):
        protocol = pulse_protocol(question)
        words = f"{protocol.pulse_count} pulses of {protocol.voltage_to_distance_v_cm:g} V/cm over the distance"
    elif modality == "cryo":
        freezes = 1 if question.model == "table" else question.freeze_count
        words = f"{freezes} freeze{'s' if freezes > 1 else ''} of {minutes}"
        words += "" if freezes == 1 else f", thaws of {question.pause_s / 60:g} min"
    else:
        power = "the generator's own power" if question.power_w is None else f"{question.power_w:g} W"
        words = f"{power} for {minutes}"
    if question.probes > 1:
        words += f", {question.probes} probes {question.distance_mm:g} mm apart"
        words += "" if question.delivery is None else f", {question.delivery}"
    return words


def place_words(question: ZoneQuestion) -> str:
    """Tissue and vessel in words."""
    if question.model == "table":
        return f"zone table, {question.setting.replace('_', ' ')}"
    words = question.tissue.replace("_", " ")
    if question.perfusion_factor != 1.0:
        words += f" with {question.perfusion_factor:g} times its perfusion"
    if question.vessel_diameter_mm is not None:
        way = "across" if question.vessel_across else "along"
        words += f", a vessel of {question.vessel_diameter_mm:g} mm {way} the needle"
        words += f" at {question.vessel_distance_mm:g} mm"
    return words


def zone_json(answer: ZoneAnswer) -> dict[str, Any]:
    """The answer as plain values, the same as printed."""
    prediction = answer.prediction

    def extents(axes: ZoneAxes) -> dict[str, Any]:
        return {**to_json(axes), "sphericity": axes.sphericity}

    return {
        "schema": SCHEMA,
        "version": VERSION,
        "question": to_json(answer.question),
        "model": answer.model,
        "criterion": prediction.criterion,
        "axes": extents(answer.axes),
        "other_axes": {words: extents(axes) for words, axes in answer.other_axes.items()},
        "table_axes": None if answer.table is None else extents(answer.table),
        "quantities": [
            {"name": item.name, "value": float(item.value), "unit": item.unit} for item in prediction.quantities
        ],
        "notes": list(answer.notes),
    }
