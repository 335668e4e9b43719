"""Nothing that is imported or loaded opens a connection: hospitals have no way out, and nobody asked."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Every module of the three packages and every robot is loaded with sockets, resolvers and children forbidden.
LOAD_ALL = """
import importlib, pkgutil, socket, subprocess
tried = []
def forbidden(*arguments, **keywords):
    tried.append(arguments)
    raise OSError("no network here")
for name in ("create_connection", "getaddrinfo", "gethostbyname"):
    setattr(socket, name, forbidden)
class NoSocket(socket.socket):
    connect = connect_ex = sendto = bind = forbidden
socket.socket = NoSocket
{hook}
import needleplan, robots, sim
count = 0
for package in (needleplan, robots, sim):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
            count += 1
from robots.catalogue import list_robots, load_robot
for name in list_robots():
    load_robot(name)
print(count, len(tried))
"""


def loaded(hook: str = "") -> tuple[int, int]:
    """Number of modules that were imported and of connections that were tried."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD_ALL.replace("{hook}", hook)],
        capture_output=True, text=True, timeout=300, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    modules, tried = done.stdout.split()[-2:]
    return int(modules), int(tried)


@pytest.mark.long
def test_no_module_and_no_robot_asks_the_network():
    modules, tried = loaded()
    assert modules > 400
    assert tried == 0


@pytest.mark.long
def test_a_connection_would_be_noticed():
    attempt = "import urllib.request\ntry: urllib.request.urlopen('http://127.0.0.1:9/')\nexcept OSError: pass"
    assert loaded(attempt)[1] > 0
