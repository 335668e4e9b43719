"""Rendering of triangle meshes by VTK without a display.

The projection is parallel, so a scale bar holds everywhere in the picture and a point's pixel has a closed form.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.errors import NeedleplanError
from needleplan.frames import FloatArray, read_only, unit_vector
from needleplan.viz.canvas import RgbArray
from needleplan.viz.palette import rgb

#: Layers of translucent surface that are sorted exactly; further ones barely show.
PEELS = 8
#: Distance of the camera from the focus; without meaning for what a parallel projection shows.
CAMERA_DISTANCE_MM = 1000.0


class RenderingError(NeedleplanError):
    """No off-screen OpenGL is available."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A camera with parallel projection.

    Attributes:
        direction: (3,) unit vector from the focal point towards the camera.
        up: (3,) unit vector that points up in the picture, perpendicular to ``direction``.
        focus_mm: (3,) point at the picture's centre.
        height_mm: height of the picture in the patient.
    """

    direction: FloatArray
    up: FloatArray
    focus_mm: FloatArray
    height_mm: float

    def __post_init__(self) -> None:
        direction = unit_vector(self.direction)
        up = np.asarray(self.up, dtype=np.float64)
        object.__setattr__(self, "direction", read_only(direction))
        object.__setattr__(self, "up", read_only(unit_vector(up - (up @ direction) * direction)))
        object.__setattr__(self, "focus_mm", read_only(self.focus_mm))

    @property
    def right(self) -> FloatArray:
        """(3,) unit vector that points right in the picture."""
        return np.cross(self.up, self.direction)

    def pixels(self, points_mm: ArrayLike, size: tuple[int, int]) -> FloatArray:
        """(n, 2) pixel positions of points (n, 3), from the picture's upper left corner."""
        offset = np.asarray(points_mm, dtype=np.float64) - self.focus_mm
        scale = size[1] / self.height_mm
        return np.stack(
            [size[0] / 2 + scale * (offset @ self.right), size[1] / 2 - scale * (offset @ self.up)], axis=-1
        )


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """A mesh with its appearance.

    Attributes:
        mesh: the surface.
        color: hexadecimal RGB; unused where ``face_colors`` or ``vertex_values`` are given.
        opacity: where the surface faces the camera.
        rim: where it is seen edge on; equal to ``opacity`` for a plain surface.
        shininess: strength of the highlight, 0 to 1.
        hide_back: True to draw only faces that look towards the camera.
        hidden_faces: (m,) True for faces that are left out.
        face_colors: (m, 3) uint8 colour of each face; None where one colour or ``vertex_values`` paint the mesh.
        vertex_values: (n,) values that ``value_bins`` turn into colours, exact at the borders of the bins.
        value_bins: upper border and colour of each bin; the last border is taken as infinite.
        fade_mm: distances from the view's focus between which the surface fades away; None to show all of it.
    """

    mesh: SurfaceMesh
    color: str = "#cccccc"
    opacity: float = 1.0
    rim: float = 1.0
    shininess: float = 0.25
    hide_back: bool = False
    hidden_faces: NDArray[np.bool_] | None = None
    face_colors: NDArray[np.uint8] | None = None
    vertex_values: FloatArray | None = None
    value_bins: tuple[tuple[float, str], ...] = field(default=())
    fade_mm: tuple[float, float] | None = None


def polydata(mesh: SurfaceMesh, hidden_faces: NDArray[np.bool_] | None = None) -> Any:
    """The mesh as vtkPolyData, without ``hidden_faces``."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    faces = mesh.faces if hidden_faces is None else mesh.faces[~hidden_faces]
    points = vtkPoints()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(mesh.vertices_mm), deep=True))
    cells = vtkCellArray()
    offsets = np.arange(0, 3 * len(faces) + 1, 3, dtype=np.int64)
    cells.SetData(
        numpy_to_vtkIdTypeArray(offsets, deep=True),
        numpy_to_vtkIdTypeArray(np.ascontiguousarray(faces, dtype=np.int64).ravel(), deep=True),
    )
    data = vtkPolyData()
    data.SetPoints(points)
    data.SetPolys(cells)
    return data


def _vertex_normals(mesh: SurfaceMesh) -> FloatArray:
    """(n, 3) area-weighted normals, computed without splitting or reordering."""
    vectors = mesh.area_vectors_mm2
    corners = [np.ascontiguousarray(mesh.faces[:, corner], dtype=np.intp) for corner in range(3)]
    normals = np.zeros_like(mesh.vertices_mm)
    for axis in range(3):
        weights = np.ascontiguousarray(vectors[:, axis])
        for corner in corners:
            normals[:, axis] += np.bincount(corner, weights=weights, minlength=len(normals))
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)


def _opacity_shader(body: Body) -> str:
    """Fragment code that sets the opacity by the angle of sight and by the distance from the focus."""
    code = ""
    if body.rim > body.opacity:
        # The projection is parallel, so the normal's view-space z is the cosine to the line of sight.
        code += (
            f"  fragOutput0.a = mix({body.opacity:.4f}, {body.rim:.4f}, "
            "pow(1.0 - min(1.0, abs(normalVCVSOutput.z)), 2.2));\n"
        )
    if body.fade_mm is not None:
        full, gone = body.fade_mm
        code += (
            f"  fragOutput0.a *= 1.0 - smoothstep({full:.3f}, {gone:.3f}, "
            f"distance(vertexVC.xyz, vec3(0.0, 0.0, -{CAMERA_DISTANCE_MM:.1f})));\n"
        )
    return code


def _actor(body: Body) -> Any:
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

    data = polydata(body.mesh, body.hidden_faces)
    normals = numpy_to_vtk(_vertex_normals(body.mesh).astype(np.float32), deep=True)
    normals.SetName("Normals")
    data.GetPointData().SetNormals(normals)
    mapper = vtkPolyDataMapper()
    mapper.SetInputData(data)
    mapper.SetScalarVisibility(False)
    if body.face_colors is not None:
        _paint_faces(mapper, data, body.face_colors, body.hidden_faces)
    elif body.vertex_values is not None:
        _paint(mapper, data, body)
    actor = vtkActor()
    actor.SetMapper(mapper)
    look = actor.GetProperty()
    translucent = body.opacity < 1.0 or body.fade_mm is not None
    look.SetInterpolationToPhong()
    look.SetColor(*rgb(body.color))
    # Hulls that are lit from the camera alone grow dark at the rim, where they should show most.
    look.SetAmbient(0.45 if body.rim > body.opacity else 0.14)
    look.SetDiffuse(0.65 if body.rim > body.opacity else 0.80)
    look.SetSpecular(body.shininess)
    look.SetSpecularPower(28.0)
    look.SetOpacity(min(body.opacity, 0.999) if translucent else 1.0)
    look.SetBackfaceCulling(body.hide_back)
    shader = _opacity_shader(body)
    if shader:
        actor.GetShaderProperty().AddFragmentShaderReplacement(
            "//VTK::Light::Impl", True, "//VTK::Light::Impl\n" + shader, False
        )
    return actor


def _paint_faces(mapper: Any, data: Any, colors: NDArray[np.uint8], hidden_faces: NDArray[np.bool_] | None) -> None:
    """Each face in its own colour, with sharp borders."""
    from vtkmodules.util.numpy_support import numpy_to_vtk

    shown = colors if hidden_faces is None else colors[~hidden_faces]
    data.GetCellData().SetScalars(numpy_to_vtk(np.ascontiguousarray(shown, dtype=np.uint8), deep=True))
    mapper.SetScalarModeToUseCellData()
    mapper.SetColorModeToDirectScalars()
    mapper.SetScalarVisibility(True)


def _paint(mapper: Any, data: Any, body: Body) -> None:
    """Colour the mesh by bins; the values are interpolated first, so borders are sharp lines."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import vtkLookupTable

    borders = [border for border, _ in body.value_bins[:-1]]
    low, high = min(borders) - 5.0, max(borders) + 5.0
    steps = 1024
    table = vtkLookupTable()
    table.SetNumberOfTableValues(steps)
    table.SetTableRange(low, high)
    for index in range(steps):
        value = low + (index + 0.5) * (high - low) / steps
        bin_index = int(np.searchsorted(borders, value, side="right"))
        table.SetTableValue(index, *rgb(body.value_bins[bin_index][1]), 1.0)
    values = numpy_to_vtk(np.clip(np.asarray(body.vertex_values), low, high).astype(np.float32), deep=True)
    data.GetPointData().SetScalars(values)
    mapper.SetLookupTable(table)
    mapper.SetUseLookupTableScalarRange(True)
    mapper.SetInterpolateScalarsBeforeMapping(True)
    mapper.SetScalarVisibility(True)


_NO_OPENGL = (
    "three-dimensional pictures cannot be drawn here because VTK finds no OpenGL without a display: "
    "install libegl1 and libgl1-mesa-dri"
)


def _window() -> Any:
    """A render window that works off screen; raises RenderingError where VTK would crash for lack of one."""
    # A window class that is forced through the API segfaults off screen; the variable chooses it safely.
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    from vtkmodules.vtkCommonCore import vtkLogger
    from vtkmodules.vtkRenderingCore import vtkRenderWindow
    from vtkmodules.vtkRenderingOpenGL2 import vtkOpenGLRenderer  # noqa: F401  registers the OpenGL classes

    verbosity = vtkLogger.GetCurrentVerbosityCutoff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    try:
        window = vtkRenderWindow()
    finally:
        vtkLogger.SetStderrVerbosity(verbosity)
    # VTK's last resort is OSMesa; without that library the window exists but its first rendering segfaults.
    if window.GetClassName() == "vtkOSOpenGLRenderWindow" and not _has_osmesa():
        raise RenderingError(_NO_OPENGL)
    return window


def _has_osmesa() -> bool:
    import ctypes

    for name in ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so", "osmesa.dll", "libOSMesa.dylib"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def render(bodies: Sequence[Body], view: View, size: tuple[int, int], background: str) -> RgbArray:
    """Render ``bodies`` and return (height, width, 3) pixels.

    Args:
        bodies: what is seen.
        view: the camera.
        size: (width, height) in pixels.
        background: hexadecimal RGB.

    Raises:
        RenderingError: VTK finds no way to render off screen.
    """
    return render_views(bodies, [view], size, background)[0]


def render_views(
    bodies: Sequence[Body], views: Sequence[View], size: tuple[int, int], background: str
) -> list[RgbArray]:
    """As :func:`render` for each of several views; the bodies are made ready once for all of them."""
    window = _window()
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkUnsignedCharArray
    from vtkmodules.vtkRenderingCore import vtkLightKit, vtkRenderer

    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetAlphaBitPlanes(1)
    window.SetSize(*size)
    renderer = vtkRenderer()
    renderer.SetBackground(*rgb(background))
    renderer.SetUseDepthPeeling(True)
    renderer.SetMaximumNumberOfPeels(PEELS)
    renderer.SetOcclusionRatio(0.01)
    renderer.SetUseFXAA(True)
    window.AddRenderer(renderer)
    for body in bodies:
        renderer.AddActor(_actor(body))
    kit = vtkLightKit()
    kit.SetKeyLightIntensity(0.95)
    kit.SetKeyToFillRatio(2.2)
    kit.SetKeyToHeadRatio(2.5)
    kit.AddLightsToRenderer(renderer)
    images = []
    for view in views:
        camera = renderer.GetActiveCamera()
        camera.ParallelProjectionOn()
        camera.SetFocalPoint(*view.focus_mm)
        camera.SetPosition(*(view.focus_mm + CAMERA_DISTANCE_MM * view.direction))
        camera.SetViewUp(*view.up)
        camera.SetParallelScale(view.height_mm / 2)
        renderer.ResetCameraClippingRange()
        window.Render()
        pixels = vtkUnsignedCharArray()
        window.GetRGBACharPixelData(0, 0, size[0] - 1, size[1] - 1, 1, pixels)
        values = vtk_to_numpy(pixels)
        if values.size != size[0] * size[1] * 4:
            window.Finalize()
            raise RenderingError(_NO_OPENGL)
        images.append(np.array(values.reshape(size[1], size[0], 4)[::-1, :, :3]))
    window.Finalize()
    return images
