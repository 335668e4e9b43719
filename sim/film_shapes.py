"""The pieces that a film's scene is made of: views, lights, actors for tissue and for the arm's shapes."""

from typing import Any

import numpy as np

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.model import StructureSurface
from needleplan.case.model import Role
from needleplan.frames import FloatArray, unit_vector
from needleplan.viz.offscreen import polydata
from needleplan.viz.palette import look_of, rgb
from sim.recorder import SceneState, VisualShape

#: Background of the views, from above to below.
_SKY, _HORIZON = "#1d2430", "#3b4658"


def shape_extent(shape: VisualShape, state: SceneState) -> FloatArray:
    """(2, 3) ends of a shape's longest extent in the world."""
    half = np.zeros(3)
    if shape.kind == "cylinder":
        half[2] = shape.size_m[0] / 2
    elif shape.kind == "box":
        longest = int(np.argmax(shape.size_m))
        half[longest] = shape.size_m[longest] / 2
    pose = state.link_poses[shape.link] @ shape.pose
    reach = pose[:3, :3] @ half
    return np.stack([pose[:3, 3] - reach, pose[:3, 3] + reach])


def is_needle(shape: VisualShape) -> bool:
    """True for a cylinder as thin as a needle."""
    return shape.kind == "cylinder" and shape.size_m[1] < 0.002


def make_renderer(viewport: tuple[float, float, float, float]) -> Any:
    """An empty view in a part of the window (left, bottom, right, top; shares of 1), with its lights."""
    from vtkmodules.vtkRenderingCore import vtkLight, vtkRenderer
    from vtkmodules.vtkRenderingOpenGL2 import vtkOpenGLRenderer  # noqa: F401  registers the OpenGL classes

    renderer = vtkRenderer()
    renderer.SetViewport(*viewport)
    renderer.GradientBackgroundOn()
    renderer.SetBackground(*rgb(_HORIZON))
    renderer.SetBackground2(*rgb(_SKY))
    renderer.SetUseFXAA(True)
    # Two lights: without a graphics card every further one costs as much time as the whole geometry.
    for position, intensity in (((-0.7, 1.1, 1.0), 0.85), ((0.8, -0.1, 1.0), 0.4)):
        light = vtkLight()
        light.SetLightTypeToCameraLight()
        light.SetPosition(*position)
        light.SetFocalPoint(0.0, 0.0, 0.0)
        light.SetIntensity(intensity)
        renderer.AddLight(light)
    return renderer


def solid_actor(data: Any, color: tuple[float, float, float], specular: float) -> Any:
    """An opaque actor of one colour."""
    from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

    mapper = vtkPolyDataMapper()
    mapper.SetInputData(data)
    mapper.SetScalarVisibility(False)
    actor = vtkActor()
    actor.SetMapper(mapper)
    look = actor.GetProperty()
    look.SetColor(*color)
    look.SetInterpolationToPhong()
    look.SetAmbient(0.15)
    look.SetDiffuse(0.8)
    look.SetSpecular(specular)
    look.SetSpecularPower(30.0)
    return actor


def tissue_actor(data: Any, surface: StructureSurface, opacity: float | None = None) -> Any:
    """Actor of a structure in its usual look, or with another ``opacity``."""
    from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

    look = look_of(surface)
    mapper = vtkPolyDataMapper()
    mapper.SetInputData(data)
    mapper.SetScalarVisibility(False)
    actor = vtkActor()
    actor.SetMapper(mapper)
    material = actor.GetProperty()
    material.SetColor(*rgb(look.color))
    material.SetInterpolationToPhong()
    material.SetAmbient(0.2)
    material.SetDiffuse(0.75)
    material.SetSpecular(0.15)
    material.SetSpecularPower(20.0)
    rim = look.rim
    if surface.role is Role.SKIN:
        opacity, rim = 0.18, 0.7
    elif opacity is None:
        opacity = look.opacity
    if opacity < 0.99:
        material.SetOpacity(min(opacity, 0.999))
        material.SetBackfaceCulling(True)
        # More opaque where it is seen edge on: a hull stays readable and what lies in it stays visible.
        actor.GetShaderProperty().AddFragmentShaderReplacement(
            "//VTK::Light::Impl",
            True,
            "//VTK::Light::Impl\n"
            f"  fragOutput0.a = mix({opacity:.4f}, {rim:.4f}, "
            "pow(1.0 - min(1.0, abs(normalVCVSOutput.z)), 2.2));\n",
            False,
        )
    return actor


def shape_data(shape: VisualShape) -> Any:
    """A shape of the arm in its own frame, as vtkPolyData."""
    from vtkmodules.vtkCommonTransforms import vtkTransform
    from vtkmodules.vtkFiltersGeneral import vtkTransformPolyDataFilter
    from vtkmodules.vtkFiltersSources import vtkCubeSource, vtkCylinderSource, vtkSphereSource

    if shape.kind == "mesh":
        return _mesh_data(shape)
    source: Any
    if shape.kind == "box":
        source = vtkCubeSource()
        source.SetXLength(shape.size_m[0])
        source.SetYLength(shape.size_m[1])
        source.SetZLength(shape.size_m[2])
        return output_of(source)
    if shape.kind == "sphere":
        source = vtkSphereSource()
        source.SetRadius(shape.size_m[0])
        source.SetThetaResolution(32)
        source.SetPhiResolution(32)
        return output_of(source)
    source = vtkCylinderSource()
    source.SetHeight(shape.size_m[0])
    source.SetRadius(shape.size_m[1])
    source.SetResolution(48)
    turn = vtkTransform()
    turn.RotateX(90.0)  # VTK's cylinders stand along y, a URDF's along z
    filter_ = vtkTransformPolyDataFilter()
    filter_.SetTransform(turn)
    filter_.SetInputConnection(source.GetOutputPort())
    return output_of(filter_)


def _mesh_data(shape: VisualShape) -> Any:
    import trimesh

    loaded = trimesh.load(shape.mesh, force="mesh")
    return polydata(SurfaceMesh(np.asarray(loaded.vertices) * np.asarray(shape.size_m), np.asarray(loaded.faces)))


def output_of(source: Any) -> Any:
    """The data of a source; a port would die with its source."""
    source.Update()
    return source.GetOutput()


def vtk_matrix(matrix: FloatArray) -> Any:
    """A (4, 4) matrix as VTK's."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    result = vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, dtype=np.float64).ravel().tolist())
    return result


def fit_camera(
    points: FloatArray, direction: FloatArray, up: FloatArray, angle_deg: float, aspect: float
) -> tuple[FloatArray, float]:
    """Focus (3,) and distance of a perspective camera that sees all ``points`` (n, 3) from ``direction``."""
    right = unit_vector(np.cross(up, direction))
    true_up = np.cross(direction, right)
    x, y, z = points @ right, points @ true_up, points @ direction
    focus = 0.5 * (x.min() + x.max()) * right + 0.5 * (y.min() + y.max()) * true_up + float(np.mean(z)) * direction
    tangent = np.tan(np.deg2rad(angle_deg) / 2)
    offset = points - focus
    wide = np.abs(offset @ right) / (tangent * aspect) + offset @ direction
    high = np.abs(offset @ true_up) / tangent + offset @ direction
    return focus, 1.05 * float(max(wide.max(), high.max()))
