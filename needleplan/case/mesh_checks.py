"""The gate for surfaces: closed, facing outward, no shell inside or across another; small faults are mended."""

import numpy as np
from numpy.typing import NDArray

from needleplan.anatomy.mesh import SurfaceMesh
from needleplan.case.model import Finding, Severity
from needleplan.case.solids import contains, sample_points

#: A hole whose edge fits into a box of this diagonal is closed by a flat lid: on a surface of at least 10 mm
#: radius of curvature such a lid cuts off less than 0.12 mm.
TINY_HOLE_MM = 3.0
#: More holes than this mean a broken surface, however small each one is.
MAXIMUM_TINY_HOLES = 10
#: Shells are compared in pairs up to this number.
MAXIMUM_SHELLS = 200
_SHELL_SAMPLES = 300


def mend_surface(name: str, mesh: SurfaceMesh) -> tuple[SurfaceMesh | None, list[Finding]]:
    """A closed surface that faces outward, with what was found on the way.

    Args:
        name: the structure's name, for the findings.
        mesh: the surface as it was read.

    Returns:
        The surface, or None where it is refused; and the findings.
    """
    findings: list[Finding] = []

    def find(severity: Severity, code: str, message: str, remedy: str) -> None:
        findings.append(Finding(severity, code, name, f"{name}: {message}", remedy))

    faces, doubled = _without_double_faces(np.asarray(mesh.faces, dtype=np.int32))
    if len(faces) == 0:
        find(Severity.REFUSED, "empty", "the surface has no face with an area", "export the surface again")
        return None, findings
    if doubled:
        find(
            Severity.MENDED,
            "double-faces",
            f"{doubled} faces are there twice; the copies were dropped",
            "export the surface without duplicates",
        )
    faces, turned = _wound_alike(faces)
    if turned:
        find(
            Severity.MENDED,
            "mixed-orientation",
            f"{turned} of {len(faces)} faces looked the other way than their neighbours and were turned",
            "check the picture of the surface",
        )
    vertices, faces, closed, largest = _without_tiny_holes(np.asarray(mesh.vertices_mm), faces)
    if closed:
        find(
            Severity.WARNING,
            "tiny-holes",
            f"{closed} holes of at most {largest:.2g} mm were closed by flat lids",
            "export a closed surface",
        )
    surface = SurfaceMesh(vertices, faces)
    if not surface.is_watertight:
        find(
            Severity.REFUSED,
            "holes",
            f"the surface is not closed: {surface.open_edge_count} edges bound a face on one side only",
            "export a closed surface, or use the label map",
        )
        return None, findings
    shells = _shells(surface)
    if len(shells) > MAXIMUM_SHELLS:
        find(
            Severity.REFUSED,
            "many-shells",
            f"the surface falls into {len(shells)} separate pieces, more than {MAXIMUM_SHELLS}",
            "remove the stray pieces",
        )
        return None, findings
    kept, messages = _sorted_out(shells)
    for severity, code, message, remedy in messages:
        find(severity, code, message, remedy)
    if kept is None:
        return None, findings
    return kept, findings


def _without_double_faces(faces: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
    """Faces with three different corners, each set of corners once; and the number of copies dropped."""
    proper = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    faces = faces[proper]
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    return faces[np.sort(first)], len(faces) - len(first)


def _edges(faces: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """For the three edges of all faces: key of the undirected edge, number of the face, whether it runs upward."""
    start = faces.T.ravel().astype(np.int64)
    end = np.roll(faces, -1, axis=1).T.ravel().astype(np.int64)
    size = np.int64(faces.max()) + 1
    key = np.minimum(start, end) * size + np.maximum(start, end)
    return key, np.tile(np.arange(len(faces)), 3), start < end


def _pairs(faces: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Pairs of faces that share an edge which no third face has, and whether the two are wound unalike."""
    key, face, upward = _edges(faces)
    order = np.argsort(key, kind="stable")
    key, face, upward = key[order], face[order], upward[order]
    _, first, count = np.unique(key, return_index=True, return_counts=True)
    first = first[count == 2]
    return face[first], face[first + 1], upward[first] == upward[first + 1]


def _wound_alike(faces: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
    """Faces turned so that neighbours are wound alike, the majority of each piece keeping its way."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import breadth_first_order, connected_components

    a, b, unalike = _pairs(faces)
    if not unalike.any():
        return faces, 0
    n = len(faces)
    weight = np.where(unalike, 2, 1)
    graph = coo_matrix((np.r_[weight, weight], (np.r_[a, b], np.r_[b, a])), shape=(n, n)).tocsr()
    # Two faces that share two edges add their weights; 3 and above would contradict itself and stays as it is.
    turn = np.zeros(n, dtype=bool)
    _, piece = connected_components(graph, directed=False)
    for seed in np.unique(piece, return_index=True)[1]:
        order, before = breadth_first_order(graph, seed, directed=False)
        steps = np.asarray(graph[order[1:], before[order[1:]]]).ravel()
        for face, previous, step in zip(order[1:], before[order[1:]], steps, strict=True):
            turn[face] = turn[previous] ^ (step == 2)
        if turn[order].sum() * 2 > len(order):
            turn[order] = ~turn[order]
    result = faces.copy()
    result[turn] = result[turn][:, ::-1]
    return result, int(turn.sum())


def _without_tiny_holes(
    vertices: NDArray[np.float64], faces: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.int32], int, float]:
    """The surface with lids on its holes where all are tiny; the number of lids and the largest hole in mm."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    key, _, _ = _edges(faces)
    _, first, count = np.unique(key, return_index=True, return_counts=True)
    lone = first[count == 1]
    if len(lone) == 0:
        return vertices, faces, 0, 0.0
    start = faces.T.ravel()[lone]
    end = np.roll(faces, -1, axis=1).T.ravel()[lone]
    n = len(vertices)
    graph = coo_matrix((np.ones(len(lone)), (start, end)), shape=(n, n))
    _, piece = connected_components(graph, directed=False)
    loops = [np.flatnonzero(piece[start] == number) for number in np.unique(piece[start])]
    sizes = [float(np.linalg.norm(np.ptp(vertices[start[loop]], axis=0))) for loop in loops]
    if len(loops) > MAXIMUM_TINY_HOLES or max(sizes) > TINY_HOLE_MM:
        return vertices, faces, 0, 0.0
    centres, lids = [], []
    for number, loop in enumerate(loops):
        centres.append(vertices[start[loop]].mean(axis=0))
        lids.append(np.column_stack([end[loop], start[loop], np.full(len(loop), n + number)]))
    return (
        np.concatenate([vertices, centres]),
        np.concatenate([faces, *lids]).astype(np.int32),
        len(loops),
        max(sizes),
    )


def _shells(mesh: SurfaceMesh) -> list[SurfaceMesh]:
    """The pieces of a surface that share no vertex, largest volume first."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    faces = mesh.faces
    n = len(mesh.vertices_mm)
    ones = np.ones(len(faces))
    graph = coo_matrix(
        (np.r_[ones, ones], (np.r_[faces[:, 0], faces[:, 1]], np.r_[faces[:, 1], faces[:, 2]])), (n, n)
    )
    _, piece = connected_components(graph, directed=False)
    of_face = piece[faces[:, 0]]
    order = np.argsort(of_face, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(of_face[order])) + 1)
    shells = []
    for part in parts:
        used, renumbered = np.unique(faces[part], return_inverse=True)
        shells.append(SurfaceMesh(mesh.vertices_mm[used], renumbered.reshape(-1, 3)))
    return sorted(shells, key=lambda shell: -abs(shell.volume_mm3))


Message = tuple[Severity, str, str, str]


def _sorted_out(shells: list[SurfaceMesh]) -> tuple[SurfaceMesh | None, list[Message]]:
    """Shells put together again: outer ones turned outward, cavities kept, repeated and inner ones dropped."""
    messages: list[Message] = []
    outer: list[SurfaceMesh] = []
    was_inverted: list[bool] = []
    cavities: list[SurfaceMesh] = []
    dropped = flat = 0
    for shell in shells:
        volume = shell.volume_mm3
        if abs(volume) < 1e-9 * max(1.0, shell.area_mm2):
            flat += 1
            continue
        inside = crossing = inner_sense = False
        for other, other_inverted in zip(outer, was_inverted, strict=True):
            share = _share_inside(shell, other)
            back = 0.0 if share > 0 else _share_inside(other, shell)
            if share > 0.99:
                inside, inner_sense = True, other_inverted
            elif share > 0.01 or back > 0.01:
                crossing = True
        if crossing:
            messages.append(
                (
                    Severity.REFUSED,
                    "overlapping-shells",
                    "two closed pieces of the surface cross each other, so inside and outside are undefined there",
                    "unite the pieces before the export, or use the label map",
                )
            )
            return None, messages
        # A cavity faces into its outer shell; where that was inside-out, so was the cavity.
        if inside and (volume < 0) != inner_sense:
            cavities.append(shell if volume < 0 else shell.flipped())
        elif inside:
            dropped += 1
        else:
            was_inverted.append(volume < 0)
            outer.append(shell if volume > 0 else shell.flipped())
    if not outer:
        messages.append((Severity.REFUSED, "empty", "the surface encloses no volume", "export the surface again"))
        return None, messages
    if any(was_inverted):
        messages.append(
            (
                Severity.MENDED,
                "inside-out",
                f"{sum(was_inverted)} of {len(shells)} closed pieces looked inward and were turned; a mirrored "
                "surface looks the same",
                "make sure that the stated frame is right and the export does not mirror",
            )
        )
    if dropped or flat:
        messages.append(
            (
                Severity.MENDED,
                "inner-shells",
                f"{dropped} pieces inside others and {flat} pieces without volume were dropped",
                "export the outer surface only",
            )
        )
    if cavities:
        lost = sum(-shell.volume_mm3 for shell in cavities) / 1000
        messages.append(
            (
                Severity.NOTE,
                "cavities",
                f"the surface has {len(cavities)} cavities of {lost:.3g} ml together, which are not part of it",
                "nothing, if that is meant",
            )
        )
    if len(outer) > 1:
        whole = sum(abs(shell.volume_mm3) for shell in outer)
        messages.append(
            (
                Severity.NOTE,
                "pieces",
                f"the surface has {len(outer)} separate pieces; the largest holds "
                f"{100 * abs(outer[0].volume_mm3) / whole:.1f} % of the volume",
                "remove stray pieces, if they are no anatomy",
            )
        )
    return _joined([*outer, *cavities]), messages


def _share_inside(part: SurfaceMesh, whole: SurfaceMesh) -> float:
    """Share of the vertices of ``part`` that lie inside ``whole``."""
    low, high = whole.bounds_mm
    if (part.bounds_mm[0] > high).any() or (part.bounds_mm[1] < low).any():
        return 0.0
    return float(contains(whole, sample_points(part, _SHELL_SAMPLES)).mean())


def _joined(shells: list[SurfaceMesh]) -> SurfaceMesh:
    """One mesh of several shells."""
    starts = np.cumsum([0] + [len(shell.vertices_mm) for shell in shells[:-1]])
    return SurfaceMesh(
        np.concatenate([shell.vertices_mm for shell in shells]),
        np.concatenate([shell.faces + start for shell, start in zip(shells, starts, strict=True)]),
    )
