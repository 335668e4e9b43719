"""The built-in patient: an analytic torso with known distances, as label map and as surfaces."""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.anatomy.phantom_labels import LabelMap, PhantomStructure, label_map
from needleplan.anatomy.phantom_layout import NOMINAL_SIZE_MM, Layout
from needleplan.anatomy.phantom_liver import fill_liver
from needleplan.anatomy.phantom_organs import body_solid, organs
from needleplan.anatomy.phantom_parameters import (
    PhantomParameters,
    TumourParameters,
    TumourShape,
)
from needleplan.anatomy.phantom_population import PhantomPopulation, random_parameters
from needleplan.anatomy.phantom_primitives import HalfSpace, RoundedCones
from needleplan.anatomy.phantom_sampling import box_corners, surface
from needleplan.anatomy.phantom_shapes import DistanceKind, Intersection, Shape
from needleplan.anatomy.phantom_skeleton import ribs, spine, sternum
from needleplan.anatomy.phantom_vessels import VesselTree
from needleplan.case.content_hash import content_hash
from needleplan.case.model import Case, PatientPosition, Role, Structure
from needleplan.errors import GeometryError, OptionError
from needleplan.frames import FloatArray, read_only
from needleplan.grid import Grid, VoxelMask

__all__ = [
    "GeometryForm",
    "Phantom",
    "PhantomParameters",
    "PhantomPopulation",
    "PhantomStructure",
    "TumourParameters",
    "TumourShape",
    "make_phantom",
    "random_parameters",
]

#: Air around the body in the image, in mm.
_AIR_MM = 10.0

#: Spacing of the samples from which the surfaces of branching vessels are made, in mm; others use the voxel size.
_VESSEL_SPACING_MM = 0.9


class GeometryForm(StrEnum):
    """What the structures of a case are given as."""

    LABELS = "labels"
    MESHES = "meshes"


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """An analytic patient in LPS mm, origin in the middle of the trunk.

    Attributes:
        parameters: what it was made from.
        seed_digest: SHA-256 (hex) of the random generator's state that it was made with.
        structures: all structures; the liver's solid holds its vessels and tumours.
        portal: the portal tree.
        hepatic: the hepatic veins.
    """

    parameters: PhantomParameters
    seed_digest: str
    structures: tuple[PhantomStructure, ...]
    portal: VesselTree
    hepatic: VesselTree

    @property
    def name(self) -> str:
        """Identifier that differs between patients of other parameters or another seed."""
        text = f"{self.parameters.canonical_text}|{self.seed_digest}"
        return f"phantom-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def structure(self, name: str) -> PhantomStructure:
        """The structure of that name; raises GeometryError with the names there are."""
        for structure in self.structures:
            if structure.name == name:
                return structure
        raise GeometryError(
            f"the phantom has no structure {name!r}: there are {', '.join(s.name for s in self.structures)}"
        )

    def distance_mm(self, name: str, points_mm: ArrayLike) -> FloatArray:
        """Signed distance (n,) of points (n, 3) to a structure, negative inside; see ``distance_kind``.

        The structures go on beyond the image: its upper and lower edge do not cut them here.
        """
        points = np.ascontiguousarray(np.asarray(points_mm, dtype=np.float64).reshape(-1, 3))
        return self.structure(name).shape.signed_distance(points)

    def distance_kind(self, name: str) -> DistanceKind:
        """Whether ``distance_mm`` is the Euclidean distance or only a bound on it."""
        return self.structure(name).shape.distance_kind

    def image_grid(self, voxel_mm: float | ArrayLike = 2.0, image_rotation: ArrayLike | None = None) -> Grid:
        """The grid of an image whose first and last slice cut the trunk, as those of a CT do.

        Args:
            voxel_mm: voxel size, one for all or one for each index axis.
            image_rotation: (3, 3) rotation whose columns are the index axes in LPS; None for an axial image. The
                image of a turned grid is as high as the body's own and wide enough for the body within it.

        Raises:
            OptionError: a voxel size is not in 0.3 to 10 mm or the matrix is not a rotation.
        """
        voxel = np.broadcast_to(np.asarray(voxel_mm, dtype=np.float64), (3,))
        if not (np.isfinite(voxel).all() and voxel.min() >= 0.3 and voxel.max() <= 10.0):
            raise OptionError(f"voxel_mm must lie in 0.3 to 10 mm, not {voxel.tolist()}")
        axes = np.eye(3) if image_rotation is None else np.asarray(image_rotation, dtype=np.float64)
        if axes.shape != (3, 3) or not np.allclose(axes.T @ axes, np.eye(3), atol=1e-6) or np.linalg.det(axes) < 0:
            raise OptionError("image_rotation must be a proper 3x3 rotation matrix")
        height = self.parameters.body_height_mm
        low, high = self._extent_mm(axes, height)
        low[:2] -= _AIR_MM
        high[:2] += _AIR_MM
        shape = np.maximum(1, np.round((high - low) / voxel)).astype(int)
        matrix = np.eye(4)
        matrix[:3, :3] = axes * voxel
        matrix[:3, 3] = axes @ (0.5 * (low + high) - 0.5 * (shape - 1) * voxel)
        # Single precision is what NIfTI keeps of an affine; so a saved image lies exactly where this one does.
        return Grid((int(shape[0]), int(shape[1]), int(shape[2])), matrix.astype(np.float32))

    def _extent_mm(self, axes: FloatArray, height_mm: float) -> tuple[FloatArray, FloatArray]:
        """Least and greatest coordinates along ``axes`` of the body between two planes across the third."""
        body = self.structure("skin").shape
        low, high = body.bounds_mm
        low[2], high[2] = max(low[2], -1.5 * height_mm), min(high[2], 1.5 * height_mm)
        # In steps of at most 10 mm every point of the body has a sample within 8.7 mm, where the field is below 9.
        lines = [np.linspace(low[k], high[k], int(np.ceil((high[k] - low[k]) / 10.0)) + 1) for k in range(3)]
        points = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3)
        points = points[np.abs(points @ axes[:, 2]) <= 0.5 * height_mm + 9.0]
        along = points[body.signed_distance(points) < 9.0] @ axes
        least, greatest = along.min(axis=0), along.max(axis=0)
        least[2], greatest[2] = -0.5 * height_mm, 0.5 * height_mm
        return least, greatest

    def case(
        self,
        voxel_mm: float | ArrayLike = 2.0,
        form: GeometryForm | str = GeometryForm.LABELS,
        image_rotation: ArrayLike | None = None,
    ) -> Case:
        """The patient as a case to plan on.

        Args:
            voxel_mm: voxel size; for surfaces the finest of it is the spacing of the samples they are made from.
            form: voxel masks, or surfaces whose vertices lie on the zero set. Both end at the image's first and
                last slice.
            image_rotation: (3, 3) axes of the image, see ``image_grid``.

        Raises:
            OptionError: an argument has an impossible value.
            GeometryError: a structure is too small for the voxels.
        """
        try:
            form = GeometryForm(form)
        except ValueError:
            raise OptionError(f"form must be one of {', '.join(GeometryForm)}, not {form!r}") from None
        grid = self.image_grid(voxel_mm, image_rotation)
        geometries: dict[str, VoxelMask | SurfaceMesh]
        if form is GeometryForm.LABELS:
            labels = label_map(self.structures, grid)
            geometries = {item.name: labels.mask(item.name) for item in self.structures}
        else:
            geometries = {item.name: self._surface(item, grid) for item in self.structures}
        structures = tuple(Structure(item.name, item.role, geometries[item.name]) for item in self.structures)
        position = PatientPosition.SUPINE
        digest = content_hash(self.name, position, structures, None)
        return Case(self.name, structures, position, digest)

    def label_map(self, voxel_mm: float | ArrayLike = 2.0, image_rotation: ArrayLike | None = None) -> LabelMap:
        """The patient as one label map; its masks are those of ``case``."""
        return label_map(self.structures, self.image_grid(voxel_mm, image_rotation))

    def surface(self, name: str, spacing_mm: float, image_rotation: ArrayLike | None = None) -> SurfaceMesh:
        """Closed surface of a structure, cut off at the image's first and last slice, vertices on the zero set.

        Args:
            name: the structure.
            spacing_mm: spacing of the samples that the surface is made from; branching vessels take a finer one.
            image_rotation: (3, 3) axes of the image, see ``image_grid``.
        """
        item = self.structure(name)
        return self._surface(item, self.image_grid(spacing_mm, image_rotation))

    def _surface(self, item: PhantomStructure, grid: Grid) -> SurfaceMesh:
        """Surface of a structure between the outer faces of the image's first and last slice."""
        normal = grid.T_PV[:3, 2] / np.linalg.norm(grid.T_PV[:3, 2])
        half = 0.5 * self.parameters.body_height_mm
        spacing = float(grid.spacing_mm.min())
        if item.name in ("portal_vein", "hepatic_veins"):
            spacing = min(spacing, _VESSEL_SPACING_MM)
        slab = (HalfSpace(normal * half, normal), HalfSpace(-normal * half, -normal))
        low, high = item.shape.bounds_mm
        reach = _slab_reach(grid)
        solid: Shape = item.shape
        corners = box_corners(low, high)
        if (np.abs(corners @ normal) > half).any():
            solid = Intersection((item.shape, *slab))
            low, high = np.maximum(low, reach[0]), np.minimum(high, reach[1])
        return surface(solid, spacing, low, high)


def _slab_reach(grid: Grid) -> FloatArray:
    """(2, 3) bounds in LPS of the box that a grid fills, with one voxel more."""
    n = np.asarray(grid.shape)
    corners = box_corners(np.full(3, -1.0), n.astype(np.float64))
    points = grid.to_patient(corners)
    return np.stack([points.min(axis=0), points.max(axis=0)])


def make_phantom(parameters: PhantomParameters, generator: Generator) -> Phantom:
    """The patient of these parameters; the same generator state gives the same patient.

    Raises:
        OptionError: a tumour does not fit at its stated centre or anywhere within its stated ranges.
    """
    # The state is all that the draws depend on; arrays in it (of some bit generators) become lists.
    state = json.dumps(generator.bit_generator.state, default=lambda array: array.tolist())
    seed_digest = hashlib.sha256(state.encode()).hexdigest()
    size = np.array([parameters.body_width_mm, parameters.body_depth_mm, parameters.body_height_mm])
    layout = Layout(read_only(size / NOMINAL_SIZE_MM), parameters.organ_variation, generator)
    bony, cartilage = ribs(layout, parameters.rib_pair_count, parameters.rib_radius_mm)
    hard: dict[str, Shape] = {"ribs": bony, "sternum": sternum(layout)}
    if cartilage is not None:
        hard["costal_cartilages"] = cartilage
    hard["spine"] = spine(layout, parameters.vertebra_count)
    soft = organs(layout, parameters.rib_radius_mm, hard)
    cava = soft["vena_cava"]
    if not isinstance(cava, RoundedCones):
        raise GeometryError("the vena cava must be a tube")
    inner = fill_liver(layout, parameters, soft["liver"], cava, generator)
    items = [PhantomStructure("skin", Role.SKIN, body_solid(layout))]
    items += [PhantomStructure(name, Role.BONE, shape) for name, shape in hard.items()]
    items.append(PhantomStructure("liver", Role.ORGAN, soft["liver"]))
    items.append(PhantomStructure("portal_vein", Role.VESSEL, inner.portal.shape))
    items.append(PhantomStructure("hepatic_veins", Role.VESSEL, inner.hepatic.shape))
    items += [PhantomStructure(name, _ROLES[name], shape) for name, shape in soft.items() if name != "liver"]
    order = [parameters.target_index, *(k for k in range(len(inner.tumours)) if k != parameters.target_index)]
    for place, k in enumerate(order):
        name, role = ("tumour", Role.TARGET) if place == 0 else (f"tumour_{place + 1}", Role.ALLOWED)
        items.append(PhantomStructure(name, role, inner.tumours[k]))
    portal, hepatic = inner.portal, inner.hepatic
    if parameters.mirrored:
        mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
        items = [PhantomStructure(item.name, item.role, item.shape.moved(mirror)) for item in items]
        portal, hepatic = portal.moved(mirror), hepatic.moved(mirror)
    return Phantom(parameters, seed_digest, tuple(items), portal, hepatic)


_ROLES = {
    "vena_cava": Role.VESSEL,
    "aorta": Role.VESSEL,
    "gallbladder": Role.CRITICAL,
    "kidney_right": Role.CRITICAL,
    "kidney_left": Role.CRITICAL,
    "spleen": Role.CRITICAL,
    "heart": Role.CRITICAL,
    "stomach": Role.BOWEL,
    "colon": Role.BOWEL,
    "lung_right": Role.LUNG,
    "lung_left": Role.LUNG,
}
