"""Pictures and film of an answer of the zone command."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from needleplan.ablation.contract import LethalZone
from needleplan.app.zone import DIRECTION, ZoneQuestion
from needleplan.app.zone_answer import ZoneAnswer, place_words, setting_words
from needleplan.app.zone_models import active_parts, shafts
from needleplan.grid import ScalarField
from needleplan.io.bounded import write_atomically
from needleplan.viz.canvas import Picture
from needleplan.viz.offscreen import RenderingError
from needleplan.viz.zone_drawing import draw_section
from needleplan.viz.zone_growth import GrowthRecorder, clock, draw_growth, make_growth_film, moment
from needleplan.viz.zone_looks import DrawnPart, DrawnVessel, cylinder_mesh
from needleplan.viz.zone_scene import criterion_layers, isotherm_layers, render_zone, time_layers
from needleplan.viz.zone_section import (
    SectionGrid,
    SectionImage,
    look_of_field,
    plane_along,
    shown_field,
)

#: Files of an earlier answer, which would tell of another zone.
FILES = ("section.png", "growth.png", "isotherms.png", "times.png", "zones.png", "growth.mp4")


class ZonePictures:
    """Gathers what a solver shows while it runs, and draws it.

    Args:
        question: what is asked.
    """

    def __init__(self, question: ZoneQuestion) -> None:
        first = question.insertions[0]
        towards = None
        if question.vessel is not None:
            towards = (question.vessel_distance_mm or 0.0, 0.0, 0.0)
        elif question.probes > 1:
            towards = question.insertions[1].tip_mm
        self.question = question
        self.plane = plane_along(first.tip_mm, DIRECTION, towards)
        self.recorder = GrowthRecorder(self.plane)
        self.parts = tuple(
            DrawnPart(part.start_mm, part.end_mm, 2.0 * part.radius_mm, is_active)
            for parts, is_active in ((shafts(question), False), (active_parts(question), True))
            for part in parts
        )
        self.vessels: tuple[DrawnVessel, ...] = ()
        if question.vessel is not None:
            name = f"vessel, {question.vessel_diameter_mm:g} mm"
            self.vessels = (DrawnVessel(name, cylinder_mesh(question.vessel)),)
        self.heats = question.device.modality != "cryo"

    def write(
        self, folder: Path, answer: ZoneAnswer, *, film: bool, progress: Callable[[str, float], None]
    ) -> list[tuple[str, str]]:
        """Draw everything, then write it.

        Args:
            folder: where to; made where it is not there, older pictures of the command in it are removed.
            answer: the measured answer.
            film: whether the film is made.
            progress: called with what is being done and the fraction done.

        Returns:
            What was written and where.
        """
        pictures, missing = self.draw(answer)
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        places = [(picture.title, str(folder / f"{picture.name}.png")) for picture in pictures]
        if film:
            path = folder / "growth.mp4"
            write_atomically(
                path,
                lambda part: make_growth_film(
                    part, self.recorder.frames, self.parts, self.vessels, title=self._title, caption=self._place,
                    heats=self.heats, progress=progress,
                ),
            )  # fmt: skip
            places.append(("film", str(path)))
        for picture in pictures:
            picture.save(folder)
        return places + [("not drawn", reason) for reason in missing]

    def draw(self, answer: ZoneAnswer) -> tuple[list[Picture], list[str]]:
        """The pictures of an answer, and why others could not be drawn."""
        frames = self.recorder.frames
        pictures: list[Picture] = []
        section = self._section(answer)
        if section is not None:
            pictures.append(section)
        if frames:
            pixels = draw_growth(
                frames, self.parts, self.vessels, title=f"{self._title}, in {self._place}", heats=self.heats
            )
            pictures.append(Picture("growth", "growing zone", "The section at five times.", pixels))
        try:
            pictures += self._scenes(answer)
        except RenderingError as error:
            return pictures, [str(error)]
        return pictures, []

    @property
    def _title(self) -> str:
        return f"{self.question.applicator}, {setting_words(self.question)}"

    @property
    def _place(self) -> str:
        return place_words(self.question)

    def _section(self, answer: ZoneAnswer) -> Picture | None:
        """The field at its extreme moment with the final zones; None where the model knows no field."""
        prediction = answer.prediction
        name = shown_field(prediction)
        if name is None:
            return None
        if self.recorder.frames:
            peak = self.recorder.peak
            grid, values = peak.image.grid, peak.image.values
            words = moment(peak) if self.heats else f"{clock(peak.time_s)} min"
            name, caption = "temperature_c", f"{self._place}; temperature at {words}, zones at the end"
        else:
            field = prediction.fields[name]
            grid = SectionGrid.through(field.grid, self.plane)
            values, caption = grid.sample(field), self._place
        image = SectionImage(
            grid,
            values,
            grid.signed_distance(prediction.zone),
            tuple((_short(words), grid.signed_distance(zone)) for words, zone in _bounds(answer).items()),
        )
        pixels = draw_section(
            image, look_of_field(name, values), self.parts, self.vessels,
            title=self._title, caption=caption, criterion=f"zone: {_short(prediction.criterion)}",
        )  # fmt: skip
        return Picture("section", "section along the needle", caption, pixels)

    def _scenes(self, answer: ZoneAnswer) -> list[Picture]:
        pictures = []
        name, field = self._field_in_space(answer)
        if field is not None and name is not None:
            look = look_of_field(name, field.values)
            falling = bool(field.values.min() < 0.0)
            layers = isotherm_layers(field, look, falling)
            if layers:
                when = f"; temperature at {clock(self.recorder.peak.time_s)} min" if self.recorder.frames else ""
                pixels = render_zone(
                    layers, self.parts, self.vessels, title=self._title, caption=self._place + when,
                    heading=look.label,
                )  # fmt: skip
                pictures.append(Picture("isotherms", "surfaces of equal value", look.label, pixels))
        if self.recorder.frames:
            layers = time_layers(self.recorder.frames)
            if layers:
                pixels = render_zone(
                    layers, self.parts, self.vessels, title=self._title, caption=self._place,
                    heading="destroyed within",
                )  # fmt: skip
                pictures.append(Picture("times", "zones by time", "Nested zones.", pixels))
        bounded = replace(answer.prediction, other_zones=_bounds(answer))
        layers = tuple(
            replace(layer, label=_short(layer.label))
            for layer in criterion_layers(bounded, f"zone: {bounded.criterion}")
        )
        if layers:
            pixels = render_zone(
                layers, self.parts, self.vessels, title=self._title, caption=self._place, heading="destroyed by"
            )
            pictures.append(Picture("zones", "zones by each criterion", "Nested zones.", pixels))
        return pictures

    def _field_in_space(self, answer: ZoneAnswer) -> tuple[str | None, ScalarField | None]:
        if self.recorder.extreme is not None:
            return "temperature_c", self.recorder.extreme
        name = shown_field(answer.prediction)
        return name, None if name is None else answer.prediction.fields[name]


def _bounds(answer: ZoneAnswer) -> dict[str, LethalZone]:
    """The outer and the inner bound, and of all further zones the largest: more cannot be told apart."""
    names = list(answer.prediction.other_zones)
    further = sorted(names[2:], key=lambda name: -answer.other_axes[name].volume_ml)
    return {name: answer.prediction.other_zones[name] for name in (*names[:2], *further[:1])}


def _short(words: str) -> str:
    """A criterion in words without its source in brackets."""
    return words.split(" (")[0]
