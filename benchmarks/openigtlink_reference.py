"""The reference library of OpenIGTLink (Debian: libopenigtlink-dev) as a program, compiled once for each source."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".cpp")
HEADERS = Path("/usr/include/openigtlink")


class NoReferenceLibraryError(Exception):
    """The library or a compiler is missing; the text says which."""


def reference_program() -> Path:
    """Path of the compiled program; raises NoReferenceLibraryError."""
    compiler = shutil.which("g++")
    if compiler is None or not (HEADERS / "igtlMessageBase.h").is_file():
        raise NoReferenceLibraryError("g++ or libopenigtlink-dev is not installed")
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    program = Path(tempfile.gettempdir()) / f"openigtlink-reference-{os.getuid()}-{digest}"
    if not program.is_file():
        # Beside its place first, because several may compile at once.
        fresh = program.with_name(f"{program.name}.{os.getpid()}")
        command = [compiler, "-O1", "-w", f"-I{HEADERS}", SOURCE, "-o", fresh, "-lOpenIGTLink", "-lpthread"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            raise NoReferenceLibraryError(f"the reference program does not compile: {done.stderr[:2000]}")
        os.replace(fresh, program)
    return program
