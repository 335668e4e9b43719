"""Workers that share the cores take one thread each: at every barrier they would wait for one another."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread_a_worker():
    if "PYTEST_XDIST_WORKER" in os.environ:
        import numba

        numba.set_num_threads(1)
