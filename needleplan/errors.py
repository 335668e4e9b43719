"""Errors a user can act on. Each message is one sentence: what is wrong, where, and what would be right."""


class NeedleplanError(Exception):
    """Base of every error that needleplan raises on purpose; the command line prints it and exits with 2."""

    exit_code = 2


class CaseError(NeedleplanError):
    """A case manifest, or a file that it names, cannot be used."""


class GeometryError(NeedleplanError):
    """A mesh, mask or grid is not what its use demands."""


class FrameError(NeedleplanError):
    """Two poses were composed across different frames or units, or a matrix is not a rigid pose."""


class DeviceError(NeedleplanError):
    """An applicator or a setting is unknown, or lies outside its zone table."""


class PlanFileError(NeedleplanError):
    """A plan or outcome file is damaged, of another version, or belongs to another case."""


class OptionError(NeedleplanError):
    """An option has an impossible value or an unknown name."""


class MotionError(NeedleplanError):
    """A breathing trace or a motion model cannot be used."""


class RobotError(NeedleplanError):
    """A robot description cannot be used."""


class PhysicsError(NeedleplanError):
    """An arrangement, a tissue or a resolution is one that a zone model cannot compute."""


class NavigationError(NeedleplanError):
    """A live session was given what it cannot use: an unknown needle, a registration that fails, a damaged log."""


class NetworkError(NeedleplanError):
    """A message is malformed or larger than allowed, or a connection cannot be made or kept."""
