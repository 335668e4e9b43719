"""The growing zone: sections recorded while a solver runs, as a panel of stills and as a film."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from needleplan.ablation.heating import HeatSnapshot
from needleplan.errors import OptionError
from needleplan.grid import Grid, ScalarField
from needleplan.viz.canvas import RgbArray, new_figure, rasterise
from needleplan.viz.overlay import FONT, draw_legend, picture_axes
from needleplan.viz.palette import BACKGROUND, FAINT_INK, INK
from needleplan.viz.section import ImagePlane
from needleplan.viz.zone_drawing import SectionDrawing, draw_color_bar, section_legend
from needleplan.viz.zone_looks import CENTRAL, DrawnPart, DrawnVessel
from needleplan.viz.zone_section import SectionGrid, SectionImage, look_of_field, section_box

#: Frames a second of a film.
_FRAMES_PER_S = 12
#: How long the last frame stays.
_LAST_FRAME_S = 1.5
_FILM_SIZE = (1280, 720)


@dataclass(frozen=True, slots=True, eq=False)
class GrowthFrame:
    """One recorded moment.

    Attributes:
        time_s: since the energy began to flow.
        power_w: into tissue just then.
        volume_ml: of the zone so far.
        image: temperature and zone in the section.
        level: in space about the zone, zero at its rim; None where nothing is destroyed yet.
    """

    time_s: float
    power_w: float
    volume_ml: float
    image: SectionImage
    level: ScalarField | None = None


@dataclass(slots=True)
class GrowthRecorder:
    """Keeps sections of a running treatment; give it to a solver as ``HeatOptions.observe``.

    Attributes:
        plane: of the sections.
        frames: what was recorded, in order.
        extreme: the temperatures in space at the moment that departed most from those at the start.
    """

    plane: ImagePlane
    frames: list[GrowthFrame] = field(default_factory=list)
    extreme: ScalarField | None = None
    _departure: float = 0.0
    _extreme_index: int = 0

    def __call__(self, snapshot: HeatSnapshot) -> None:
        """Record one snapshot."""
        grid = self.frames[0].image.grid if self.frames else SectionGrid.through(snapshot.grid, self.plane)
        temperature = ScalarField(snapshot.grid, snapshot.temperature_c)
        level = grid.sample(ScalarField(snapshot.grid, snapshot.level))
        image = SectionImage(grid, grid.sample(temperature), np.nan_to_num(level, nan=-1.0))
        volume = volume_where_positive_ml(snapshot.grid, snapshot.level)
        about = _about_zone(snapshot.grid, snapshot.level)
        self.frames.append(GrowthFrame(snapshot.time_s, snapshot.power_w, volume, image, about))
        middle = float(np.median(snapshot.temperature_c))
        departure = float(np.abs(snapshot.temperature_c - middle).sum(dtype=np.float64))
        if departure >= self._departure:
            self._departure, self.extreme, self._extreme_index = departure, temperature, len(self.frames) - 1

    @property
    def peak(self) -> GrowthFrame:
        """The moment at which temperatures departed most; raises OptionError where nothing was recorded."""
        _demand_frames(self.frames)
        return self.frames[self._extreme_index]


def volume_where_positive_ml(grid: Grid, level: NDArray[np.float32]) -> float:
    """Volume of {level >= 0} by the share of each voxel's eight octants, smooth enough for a curve over time."""
    reached = np.flatnonzero((level >= 0).any(axis=(1, 2)))
    if not reached.size:
        return 0.0
    part = level[max(0, reached[0] - 1) : reached[-1] + 2]
    # Octant values by trilinear interpolation a quarter of a voxel from the centre, one axis after the other.
    for axis in range(3):
        padded = np.pad(part, [(int(k == axis),) * 2 for k in range(3)], mode="edge")
        before, after = (np.take(padded, range(k, k + part.shape[axis]), axis=axis) for k in (0, 2))
        part = np.concatenate([0.75 * part + 0.25 * before, 0.75 * part + 0.25 * after], axis=0)
    return float(np.count_nonzero(part >= 0)) * grid.voxel_volume_mm3 / 8000.0


def _about_zone(grid: Grid, level: NDArray[np.float32]) -> ScalarField | None:
    """The part of a field in which it is positive, with two more voxels on each side, which is all that is kept."""
    spans = []
    for axis, count in enumerate(level.shape):
        reached = np.flatnonzero((level >= 0).any(axis=tuple(k for k in range(3) if k != axis)))
        if not reached.size:
            return None
        spans.append((max(0, int(reached[0]) - 2), min(count, int(reached[-1]) + 3)))
    part = level[tuple(slice(low, high) for low, high in spans)]
    start = (spans[0][0], spans[1][0], spans[2][0])
    return ScalarField(grid.cropped(start, (part.shape[0], part.shape[1], part.shape[2])), part)


def clock(time_s: float) -> str:
    """A time as minutes and seconds, ``2:05``."""
    minutes, seconds = divmod(round(time_s), 60)
    return f"{minutes}:{seconds:02d}"


def moment(frame: GrowthFrame) -> str:
    """Time and power of a frame in words."""
    power = f"{frame.power_w:.0f} W into tissue" if frame.power_w > 0 else "no power"
    return f"{clock(frame.time_s)} min, {power}"


def draw_growth(
    frames: Sequence[GrowthFrame],
    parts: Sequence[DrawnPart],
    vessels: Sequence[DrawnVessel] = (),
    *,
    title: str,
    heats: bool = True,
    stills: int = 5,
    size: tuple[int, int] = (1800, 640),
) -> RgbArray:
    """Several moments of a growing zone side by side, evenly spaced in time.

    Args:
        frames: recorded moments.
        parts: needles.
        vessels: vessels.
        title: heading.
        heats: False where nothing but cold is delivered, so that no power is told.
        stills: how many are shown; fewer where fewer were recorded.
        size: (width, height) in pixels.

    Returns:
        (height, width, 3) uint8.

    Raises:
        OptionError: nothing was recorded.
    """
    _demand_frames(frames)
    chosen = select_stills(frames, stills)
    look = look_of_field("temperature_c", np.stack([frame.image.values for frame in chosen]))
    width, height = size
    share, tall = 0.945 / len(chosen), 0.72
    aspect = (share - 0.008) * width / (tall * height)
    box = section_box([frame.image for frame in frames], parts, vessels, aspect)
    figure = new_figure(size, BACKGROUND)
    pixels = picture_axes(figure)
    for k, frame in enumerate(chosen):
        axes = figure.add_axes((0.008 + k * share, 0.115, share - 0.008, tall))
        drawing = SectionDrawing(axes, frame.image.grid, look, box, parts, vessels, 0.9)
        drawing.show(frame.image)
        words = moment(frame) if heats else f"{clock(frame.time_s)} min"
        axes.set_title(
            f"{words}\n{frame.volume_ml:.1f} ml", color=INK, fontsize=11.5, family=FONT, loc="left", pad=5
        )
    draw_color_bar(figure, (0.962, 0.18, 0.009, 0.56), drawing, look.unit)
    pixels.text(
        0.008 * width, 0.026 * height, title, color=INK, fontsize=14.5, family=FONT, weight="bold", va="top"
    )
    entries = section_legend(chosen[-1].image, parts, vessels, "destroyed so far")
    left = 0.008 * width
    for entry in entries:
        draw_legend(pixels, left, 0.925 * height, [entry], 11.0, bottom=0.985 * height)
        left += 60 + 8.6 * len(entry.label)
    return rasterise(figure)


def select_stills(frames: Sequence[GrowthFrame], count: int) -> list[GrowthFrame]:
    """About ``count`` frames evenly spaced in time, the last one among them."""
    _demand_frames(frames)
    if count < 1:
        raise OptionError(f"a panel needs one still or more, not {count}")
    times = np.array([frame.time_s for frame in frames])
    wanted = times[-1] * (np.arange(count) + 1) / count
    found = dict.fromkeys(int(np.abs(times - time).argmin()) for time in wanted)
    return [frames[k] for k in found]


def make_growth_film(
    path: Path,
    frames: Sequence[GrowthFrame],
    parts: Sequence[DrawnPart],
    vessels: Sequence[DrawnVessel] = (),
    *,
    title: str,
    caption: str,
    heats: bool = True,
    progress: Callable[[str, float], None] = lambda name, fraction: None,
) -> Path:
    """Write a film of a growing zone (MP4, H.264, which every browser plays).

    Args:
        path: file to write; its folder must be there.
        frames: recorded moments, one for each frame of the film.
        parts: needles.
        vessels: vessels.
        title: heading of every frame.
        caption: setting, in a line.
        heats: False where the coldest temperature is told instead of the power.
        progress: called with what is being done and the fraction done.

    Returns:
        ``path``.

    Raises:
        OptionError: nothing was recorded.
    """
    import imageio_ffmpeg

    _demand_frames(frames)
    writer = imageio_ffmpeg.write_frames(
        str(path),
        _FILM_SIZE,
        fps=_FRAMES_PER_S,
        codec="libx264",
        pix_fmt_in="rgb24",
        pix_fmt_out="yuv420p",
        macro_block_size=2,
        quality=None,
        output_params=["-crf", "20", "-preset", "veryfast", "-movflags", "+faststart"],
        ffmpeg_log_level="error",
    )
    writer.send(None)
    try:
        picture: RgbArray | None = None
        for index, picture in enumerate(_film_pictures(frames, parts, vessels, title, caption, heats)):
            writer.send(np.ascontiguousarray(picture))
            progress("film", (index + 1) / len(frames))
        for _ in range(round(_LAST_FRAME_S * _FRAMES_PER_S)):
            writer.send(np.ascontiguousarray(picture))
    finally:
        writer.close()
    return path


def _film_pictures(
    frames: Sequence[GrowthFrame],
    parts: Sequence[DrawnPart],
    vessels: Sequence[DrawnVessel],
    title: str,
    caption: str,
    heats: bool,
) -> Iterator[RgbArray]:
    """One figure for all frames, in which image, contours, texts and the marker on the curve are replaced."""
    figure = new_figure(_FILM_SIZE, BACKGROUND)
    width, height = _FILM_SIZE
    pixels = picture_axes(figure)
    look = look_of_field(
        "temperature_c", np.stack([frame.image.values for frame in frames[:: max(1, len(frames) // 12)]])
    )
    across, tall = 0.60, 0.85
    box = section_box([frame.image for frame in frames], parts, vessels, across * width / (tall * height))
    axes = figure.add_axes((0.015, 0.03, across, tall))
    drawing = SectionDrawing(axes, frames[0].image.grid, look, box, parts, vessels, 1.15)
    draw_color_bar(figure, (0.640, 0.47, 0.016, 0.36), drawing, look.unit)
    pixels.text(0.015 * width, 0.030 * height, title, color=INK, fontsize=15, family=FONT, weight="bold", va="top")
    pixels.text(0.015 * width, 0.078 * height, caption, color=FAINT_INK, fontsize=11, family=FONT, va="top")
    now = pixels.text(0.72 * width, 0.20 * height, "", color=INK, fontsize=25, family=FONT, weight="bold")
    power = pixels.text(0.72 * width, 0.265 * height, "", color=INK, fontsize=15, family=FONT)
    volume = pixels.text(0.72 * width, 0.325 * height, "", color=CENTRAL, fontsize=15, family=FONT)
    draw_legend(
        pixels, 0.72 * width, 0.365 * height, section_legend(frames[0].image, parts, vessels, "destroyed so far"),
        10.5, bottom=0.56 * height,
    )  # fmt: skip
    curve = figure.add_axes((0.665, 0.115, 0.315, 0.26), facecolor=BACKGROUND)
    minutes = np.array([frame.time_s for frame in frames]) / 60.0
    volumes = np.array([frame.volume_ml for frame in frames])
    curve.plot(minutes, volumes, color=CENTRAL, lw=1.8)
    (marker,) = curve.plot([], [], marker="o", ms=8, color=INK, zorder=5)
    curve.set_xlim(0.0, minutes[-1])
    curve.set_ylim(0.0, 1.12 * max(float(volumes.max()), 0.1))
    curve.set_xlabel("time (min)", color=FAINT_INK, fontsize=10, family=FONT)
    curve.set_title("volume destroyed (ml)", color=INK, fontsize=10.5, family=FONT, loc="left")
    curve.tick_params(colors=FAINT_INK, labelsize=9)
    for name, spine in curve.spines.items():
        spine.set_color("#3a414c")
        spine.set_visible(name in ("left", "bottom"))
    for frame in frames:
        drawing.show(frame.image)
        now.set_text(f"{clock(frame.time_s)} min")
        if heats:
            power.set_text(f"{frame.power_w:.0f} W into tissue" if frame.power_w > 0 else "no power: cooling down")
        else:
            power.set_text(f"down to {np.nanmin(frame.image.values):.0f} °C".replace("-", "\u2212"))
        volume.set_text(f"{frame.volume_ml:.1f} ml destroyed")
        marker.set_data([frame.time_s / 60.0], [frame.volume_ml])
        yield rasterise(figure)


def _demand_frames(frames: Sequence[GrowthFrame]) -> None:
    if not frames:
        raise OptionError("nothing can be drawn of a growing zone: no moment of it was recorded")
