"""PyBullet as the simulation uses it: connected without noise, its limits in clear words, bodies made and posed.

Metres and radians. PyBullet prints what it likes and ends the process where a window cannot be opened; both are
kept away from the caller here.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from needleplan.errors import OptionError, RobotError
from needleplan.frames import FloatArray

#: Room for the vertices and for the corners of the faces of one mesh in PyBullet's shared memory
#: (B3_MAX_NUM_VERTICES and B3_MAX_NUM_INDICES of its SharedMemoryPublic.h).
MAX_VERTICES = 131_071
MAX_FACES = 524_288 // 3
#: Opening a window is tried for so long.
_WINDOW_TIMEOUT_S = 60.0
_WINDOW_OPENED = "window opened"
_TRY_WINDOW = f"""
import pybullet
client = pybullet.connect(pybullet.GUI)
if client >= 0:
    pybullet.disconnect(client)
    print({_WINDOW_OPENED!r}, flush=True)
"""


@contextmanager
def silenced() -> Iterator[None]:
    """Keeps what the C library prints (a banner at import) away from the program's output."""
    sys.stdout.flush()
    libc = ctypes.CDLL(None)
    kept = [(number, os.dup(number)) for number in (1, 2)]
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        for number, _ in kept:
            os.dup2(sink, number)
        yield
    finally:
        libc.fflush(None)  # C buffers its output where it is no terminal
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
        os.close(sink)


def pybullet() -> Any:
    """The module, loaded without its banner."""
    if "pybullet" not in sys.modules:
        with silenced():
            import pybullet
    import pybullet

    return pybullet


@dataclass(frozen=True, slots=True)
class Bullet:
    """One PyBullet world.

    Attributes:
        p: the module.
        client: number of the connection.
        shown: True where it has a window, so that bodies need something to look at.
    """

    p: Any
    client: int
    shown: bool

    @classmethod
    def connect(cls, display: bool = False) -> "Bullet":
        """A new, empty world.

        Args:
            display: True for one with a window.

        Raises:
            OptionError: there is no display, or this process shows another world already.
        """
        p = pybullet()
        if display:
            _check_display()
        try:
            with silenced():
                client = int(p.connect(p.GUI if display else p.DIRECT))
        except p.error as error:  # a second window, or more worlds than PyBullet has room for
            client, reason = -1, f" ({error})"
        else:
            reason = ""
        if client < 0 and display:
            raise OptionError(f"PyBullet opens one window a process and opened no other{reason}; {_LEAVE}")
        if client < 0:
            raise RobotError(f"PyBullet has no room for another world{reason}; close those that are no longer used")
        bullet = cls(p, client, display)
        # A cached file stays in memory until the process ends, and each world names its files anew.
        p.setPhysicsEngineParameter(enableFileCaching=0, physicsClientId=client)
        if display:
            p.configureDebugVisualizer(p.COV_ENABLE_GUI, 0, physicsClientId=client)
        return bullet

    def disconnect(self) -> None:
        """Forget the world and all that is in it."""
        with silenced():
            self.p.disconnect(physicsClientId=self.client)

    def box(self, name: str, low: FloatArray, high: FloatArray, color: FloatArray | None = None) -> int:
        """A body that is a box between two corners (3,)."""
        half = ((high - low) / 2).tolist()
        shape = self._shape(name, f"a box of {2 * np.asarray(half)} m", self.p.GEOM_BOX, halfExtents=half)
        look = self._look(color, self.p.GEOM_BOX, halfExtents=half)
        return self._body(shape, look, ((high + low) / 2).tolist())

    def capsule(self, name: str, length_m: float, radius_m: float, color: FloatArray | None = None) -> int:
        """A body that is a capsule about its z axis; ``length_m`` is without the round ends."""
        kind, size = self.p.GEOM_CAPSULE, f"a capsule of {length_m:g} m by {radius_m:g} m"
        shape = self._shape(name, size, kind, radius=radius_m, height=length_m)
        look = self._look(color, kind, radius=radius_m, length=length_m)
        return self._body(shape, look, [0.0, 0.0, 0.0])

    def surface(
        self, name: str, vertices_m: FloatArray, faces: NDArray[np.integer[Any]], color: FloatArray | None = None
    ) -> int:
        """A body that is a surface, hollow, of any form: vertices (n, 3) and faces (m, 3).

        Raises:
            RobotError: PyBullet cannot take it.
        """
        size = f"a surface of {len(faces)} faces and {len(vertices_m)} vertices"
        if len(vertices_m) > MAX_VERTICES or len(faces) > MAX_FACES:
            raise RobotError(
                f"PyBullet cannot take {name}, {size}: it has room for {MAX_FACES} faces and {MAX_VERTICES} "
                "vertices; choose fewer faces a structure"
            )
        mesh = {"vertices": vertices_m.tolist(), "indices": np.asarray(faces).ravel().tolist()}
        kind = self.p.GEOM_MESH
        shape = self._shape(name, size, kind, flags=self.p.GEOM_FORCE_CONCAVE_TRIMESH, **mesh)
        return self._body(shape, self._look(color, kind, **mesh), [0.0, 0.0, 0.0])

    def place(self, body: int, position_m: FloatArray, quaternion: FloatArray) -> None:
        """Put a body's frame at ``position_m`` (3,), turned by a quaternion (4,): x, y, z, w."""
        self.p.resetBasePositionAndOrientation(
            body, position_m.tolist(), quaternion.tolist(), physicsClientId=self.client
        )

    def _shape(self, name: str, size: str, kind: int, **dimensions: Any) -> int:
        try:
            with silenced():
                shape = int(self.p.createCollisionShape(kind, physicsClientId=self.client, **dimensions))
        except (self.p.error, SystemError) as error:  # a mesh that does not fit comes as the second
            raise RobotError(f"PyBullet cannot take {name}, {size} ({error})") from error
        if shape < 0:
            raise RobotError(f"PyBullet cannot take {name}, {size}")
        return shape

    def _look(self, color: FloatArray | None, kind: int, **dimensions: Any) -> int:
        """A shape to look at, where somebody looks."""
        if not self.shown or color is None:
            return -1
        return int(
            self.p.createVisualShape(kind, rgbaColor=color.tolist(), physicsClientId=self.client, **dimensions)
        )

    def _body(self, shape: int, look: int, position_m: list[float]) -> int:
        return int(self.p.createMultiBody(0, shape, look, basePosition=position_m, physicsClientId=self.client))


_LEAVE = "leave display off to run without one"


def _check_display() -> None:
    """Raise OptionError where no window opens: PyBullet would end the process, so another one tries it first."""
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        raise OptionError(f"no display: DISPLAY names none, so no window can be opened; {_LEAVE}")
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _TRY_WINDOW],
            capture_output=True,
            text=True,
            timeout=_WINDOW_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise OptionError(f"no display: no window opened within {_WINDOW_TIMEOUT_S:g} s; {_LEAVE}") from error
    if _WINDOW_OPENED not in tried.stdout:
        shown = os.environ.get("DISPLAY", "")
        raise OptionError(f"no display: PyBullet cannot open a window (DISPLAY is {shown!r}); {_LEAVE}")


def rotation_of(quaternion: FloatArray) -> FloatArray:
    """(3, 3) rotation of a quaternion x, y, z, w; PyBullet's own conversion rounds to single precision."""
    x, y, z, w = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternions_of(rotations: FloatArray) -> FloatArray:
    """(..., 4) quaternions x, y, z, w of rotations (..., 3, 3), from the largest component (Shepperd's method).

    Row k of ``K`` (Bar-Itzhack, Journal of Guidance, Control, and Dynamics 2000;23:1085) is the quaternion times
    four of its own component k, so that of the greatest loses nothing to rounding.
    """
    m = np.asarray(rotations)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    x, y, z = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    rows = np.stack(
        [
            np.stack([1.0 + xx - yy - zz, xy, xz, x], axis=-1),
            np.stack([xy, 1.0 - xx + yy - zz, yz, y], axis=-1),
            np.stack([xz, yz, 1.0 - xx - yy + zz, z], axis=-1),
            np.stack([x, y, z, 1.0 + xx + yy + zz], axis=-1),
        ],
        axis=-2,
    )
    greatest = np.argmax(np.diagonal(rows, axis1=-2, axis2=-1), axis=-1)[..., None, None]
    chosen = np.take_along_axis(rows, greatest, axis=-2)[..., 0, :]
    return np.asarray(chosen / np.linalg.norm(chosen, axis=-1, keepdims=True))
