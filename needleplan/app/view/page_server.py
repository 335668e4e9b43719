"""The planning page on a port of this machine: opened, served until it is stopped, closed cleanly."""

import secrets
import signal
import socket
import threading
from collections.abc import Callable

import uvicorn

from needleplan.app.view.desk import PlanningDesk
from needleplan.app.view.guard import Guard
from needleplan.app.view.page_program import page_program
from needleplan.errors import NetworkError, OptionError

#: The only address that is ever listened on.
LOOPBACK = "127.0.0.1"
#: What is still being answered has so long when the server is stopped.
_LAST_WORDS_S = 2


class PageServer:
    """A desk served on loopback.

    Args:
        desk: the plan.
        port: 0 takes a free one.

    Raises:
        OptionError: there is no such port.
        NetworkError: the port is taken, or must not be opened.
    """

    def __init__(self, desk: PlanningDesk, port: int) -> None:
        self._socket = listening_socket(port)
        self.port = int(self._socket.getsockname()[1])
        self.token = secrets.token_urlsafe(24)
        self._desk = desk
        self._asked_to_end = threading.Event()
        self._failure = ""
        program = Guard(page_program(desk), self.port, self.token)
        self._server = uvicorn.Server(
            uvicorn.Config(
                program,
                log_config=None,
                # A malformed request is a stranger's fault, and the terminal is the user's.
                log_level="error",
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=_LAST_WORDS_S,
                limit_concurrency=64,
                h11_max_incomplete_event_size=32_000,
            )
        )

    @property
    def address(self) -> str:
        """What a browser opens; whoever knows it may change the plan."""
        return f"http://{LOOPBACK}:{self.port}/{self.token}/"

    def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until ``stop``, or until the process is asked to end by Ctrl-C or a signal.

        Args:
            ready: called once the page can be opened.

        Raises:
            NetworkError: the server ended by itself.
        """
        # In a thread of its own, where uvicorn leaves signals alone.
        serving = threading.Thread(target=self._run, name="needleplan-page", daemon=True)
        before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, lambda *_: self._asked_to_end.set())
        serving.start()
        try:
            ready()
            self._asked_to_end.wait()
        finally:
            self._server.should_exit = True
            self._desk.close()
            serving.join(_LAST_WORDS_S + 3.0)
            self._socket.close()
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._failure:
            raise NetworkError(f"the page is served no longer: {self._failure}")

    def stop(self) -> None:
        """End ``serve``; from any thread."""
        self._asked_to_end.set()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception as error:
            self._failure = str(error) or repr(error)
        finally:
            self._asked_to_end.set()


def listening_socket(port: int) -> socket.socket:
    """A socket that listens on loopback.

    Raises:
        OptionError: there is no such port.
        NetworkError: it is taken, or must not be opened.
    """
    if not 0 <= port <= 65535:
        raise OptionError(f"a port is a number from 0 to 65535, not {port}; 0 takes a free one")
    # The protocol is named, or asyncio leaves Nagle's delay on: 40 ms more for every answer.
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A port that was used a moment ago may be taken again; one that is listened on may not.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((LOOPBACK, port))
        opened.listen(64)
    except OSError as error:
        opened.close()
        raise NetworkError(
            f"port {port} of this machine cannot be opened ({error.strerror or error}): stop what uses it, name "
            "another by --port N, or let --port 0 take a free one"
        ) from None
    return opened
