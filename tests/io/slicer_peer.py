"""Run by the Python of .venv-slicer, which holds 3D Slicer as a library and nothing of this project.

Reads every file in the folder of the first argument, says as JSON on the last line of the output what Slicer makes
of it in its own RAS, and writes files of its own into the folder of the second argument.
"""

import json
import sys
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

scene = slicer.vtkMRMLScene()
# The logic of markups asks for it.
selection = slicer.vtkMRMLSelectionNode()
selection.SetSingletonTag("Singleton")
scene.AddNode(selection)


def stored(kind, node, path, write=False):
    scene.AddNode(node)
    storage = getattr(slicer, kind)()
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    done = storage.WriteData(node) if write else storage.ReadData(node)
    if not done:
        raise SystemExit(f"Slicer could not {'write' if write else 'read'} {path.name}")
    return node


def matrix_of(matrix):
    return [[matrix.GetElement(i, j) for j in range(4)] for i in range(4)]


def markups(path):
    logic = slicer.vtkSlicerMarkupsLogic()
    fresh = slicer.vtkMRMLScene()
    logic.SetMRMLScene(fresh)
    logic.LoadMarkups(str(path), "loaded")
    found = []
    for k in range(fresh.GetNumberOfNodesByClass("vtkMRMLMarkupsNode")):
        node = fresh.GetNthNodeByClass(k, "vtkMRMLMarkupsNode")
        points = []
        for n in range(node.GetNumberOfControlPoints()):
            axes = vtk.vtkMatrix3x3()
            node.GetNthControlPointOrientationMatrix(n, axes)
            points.append(
                {
                    "label": node.GetNthControlPointLabel(n),
                    "description": node.GetNthControlPointDescription(n),
                    "position": list(node.GetNthControlPointPositionWorld(n)),
                    "axes": [[axes.GetElement(i, j) for j in range(3)] for i in range(3)],
                    "locked": bool(node.GetNthControlPointLocked(n)),
                    "visible": bool(node.GetNthControlPointVisibility(n)),
                }
            )
        display = node.GetDisplayNode()
        found.append(
            {
                "name": node.GetName(),
                "kind": node.GetMarkupType(),
                "locked": bool(node.GetLocked()),
                "visible": bool(display.GetVisibility()),
                "color": list(display.GetSelectedColor()),
                "points": points,
            }
        )
    return found


def segmentation(path):
    node = stored("vtkMRMLSegmentationStorageNode", slicer.vtkMRMLSegmentationNode(), path)
    found = []
    for k in range(node.GetSegmentation().GetNumberOfSegments()):
        segment = node.GetSegmentation().GetNthSegment(k)
        image = slicer.vtkOrientedImageData()
        node.GetBinaryLabelmapRepresentation(node.GetSegmentation().GetNthSegmentID(k), image)
        to_world = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(to_world)
        start = image.GetExtent()[::2]
        values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions(), order="F")
        index = np.argwhere(values != 0) + start
        affine = np.array(matrix_of(to_world))
        points = index @ affine[:3, :3].T + affine[:3, 3]
        tag = vtk.reference("")
        segment.GetTag("TerminologyEntry", tag)
        found.append(
            {
                "name": segment.GetName(),
                "color": list(segment.GetColor()),
                "voxels": len(index),
                "centre": points.mean(axis=0).tolist(),
                "moments": np.cov(points.T).tolist(),
                "least": points.min(axis=0).tolist(),
                "greatest": points.max(axis=0).tolist(),
                "terminology": str(tag),
            }
        )
    return found


def volume(path):
    node = stored("vtkMRMLVolumeArchetypeStorageNode", slicer.vtkMRMLScalarVolumeNode(), path)
    to_world = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(to_world)
    image = node.GetImageData()
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions(), order="F")
    affine = np.array(matrix_of(to_world))
    index = np.argwhere(values != 0)
    points = index @ affine[:3, :3].T + affine[:3, 3]
    weights = values[values != 0].astype(float)
    return {
        "shape": list(values.shape),
        "affine": affine.tolist(),
        "sum": float(weights.sum()),
        "centre": (points * weights[:, None] / weights.sum()).sum(axis=0).tolist(),
        "type": str(values.dtype),
    }


def model(path):
    data = stored("vtkMRMLModelStorageNode", slicer.vtkMRMLModelNode(), path).GetPolyData()
    mass = vtk.vtkMassProperties()
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputData(data)
    mass.SetInputConnection(triangles.GetOutputPort())
    points = vtk_to_numpy(data.GetPoints().GetData()).astype(float)
    faces = vtk_to_numpy(data.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    a, b, c = (points[faces[:, k]] for k in range(3))
    return {
        "points": points.tolist(),
        "volume": mass.GetVolume(),
        "signed": float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0),
    }


def transform(path):
    node = stored("vtkMRMLTransformStorageNode", slicer.vtkMRMLLinearTransformNode(), path)
    to_parent = vtk.vtkMatrix4x4()
    node.GetMatrixTransformToParent(to_parent)
    return matrix_of(to_parent)


READERS = {
    ".mrk.json": markups,
    ".seg.nrrd": segmentation,
    ".nii.gz": volume,
    ".nii": volume,
    ".vtp": model,
    ".stl": model,
    ".tfm": transform,
    ".h5": transform,
}


def write_own(folder):
    """The numbers here are those that the test expects, in RAS."""
    line = slicer.vtkMRMLMarkupsLineNode()
    line.SetName("needle 2")
    scene.AddNode(line)
    line.CreateDefaultDisplayNodes()
    line.GetDisplayNode().SetSelectedColor(0.25, 0.5, 0.75)
    line.AddControlPoint(vtk.vtkVector3d(10.5, -20.25, 30.125))
    line.AddControlPoint(vtk.vtkVector3d(-41.0, 52.5, 63.75))
    line.SetLocked(1)
    stored("vtkMRMLMarkupsJsonStorageNode", line, folder / "line.mrk.json", write=True)
    points = slicer.vtkMRMLMarkupsFiducialNode()
    scene.AddNode(points)
    points.CreateDefaultDisplayNodes()
    for k, position in enumerate([(1.5, 2.5, 3.5), (-4.0, 5.0, -6.0), (7.0, -8.0, 9.0)]):
        points.AddControlPoint(vtk.vtkVector3d(*position), f"landmark {k}")
    points.UnsetNthControlPointPosition(1)
    stored("vtkMRMLMarkupsJsonStorageNode", points, folder / "points.mrk.json", write=True)
    curve = slicer.vtkMRMLMarkupsCurveNode()
    scene.AddNode(curve)
    curve.AddControlPoint(vtk.vtkVector3d(1, 2, 3))
    stored("vtkMRMLMarkupsJsonStorageNode", curve, folder / "curve.mrk.json", write=True)

    turn = vtk.vtkTransform()
    turn.Translate(12.5, -7.25, 101.0)
    turn.RotateWXYZ(33.0, 1.0, -2.0, 0.5)
    for ending in ("tfm", "h5"):
        node = slicer.vtkMRMLLinearTransformNode()
        node.SetMatrixTransformToParent(turn.GetMatrix())
        stored("vtkMRMLTransformStorageNode", node, folder / f"turn.{ending}", write=True)

    image = slicer.vtkOrientedImageData()
    image.SetDimensions(6, 5, 4)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(6, 5, 4, order="F")
    values[...] = 0
    values[1:5, 2, 1] = 1
    values[1, 2:4, 1:3] = 1
    affine = np.array(matrix_of(turn.GetMatrix()))
    affine[:3, :3] = affine[:3, :3] * [0.7, -1.3, 2.9]
    to_world = vtk.vtkMatrix4x4()
    for i in range(4):
        for j in range(4):
            to_world.SetElement(i, j, affine[i, j])
    image.SetImageToWorldMatrix(to_world)
    segments = slicer.vtkMRMLSegmentationNode()
    scene.AddNode(segments)
    segments.AddSegmentFromBinaryLabelmapRepresentation(image, "lesion", [1.0, 0.5, 0.0])
    stored("vtkMRMLSegmentationStorageNode", segments, folder / "own.seg.nrrd", write=True)

    cone = vtk.vtkConeSource()
    cone.SetCenter(30.0, -20.0, 10.0)
    cone.SetDirection(1.0, 2.0, -0.5)
    cone.SetHeight(40.0)
    cone.SetRadius(9.0)
    cone.SetResolution(7)
    cone.Update()
    solid = slicer.vtkMRMLModelNode()
    triangles = vtk.vtkTriangleFilter()
    triangles.SetInputConnection(cone.GetOutputPort())
    triangles.Update()
    solid.SetAndObservePolyData(triangles.GetOutput())
    stored("vtkMRMLModelStorageNode", solid, folder / "cone.vtp", write=True)
    bounds = np.zeros(6)
    triangles.GetOutput().GetBounds(bounds)
    return {"lesion": (np.argwhere(values) @ affine[:3, :3].T + affine[:3, 3]).tolist(), "cone": bounds.tolist()}


def main():
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    answer = {"read": {}, "written": write_own(target)}
    for path in sorted(source.iterdir()):
        ending = next((e for e in READERS if path.name.endswith(e)), None)
        if ending is not None:
            answer["read"][path.name] = READERS[ending](path)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
