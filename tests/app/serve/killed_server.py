"""A server in a process of its own, to be killed: prints its port and serves until then."""

import sys
from pathlib import Path

from served import PATIENT, HandJobs

from needleplan.app.serve.navigation_server import NavigationServer
from needleplan.app.serve.opening import new_session, open_recorded
from needleplan.app.serve.options import ServeOptions
from needleplan.io.openigtlink.options import ServerOptions
from tests.navigation.guided_needle import registration

if __name__ == "__main__":
    options = ServeOptions(server=ServerOptions(port=0))
    recorded, clock = open_recorded(Path(sys.argv[1]) / "session.log", new_session(PATIENT, options), False)
    recorded.take(registration(0.0))
    with NavigationServer(recorded, PATIENT, HandJobs(), clock, options) as server:
        print(server.port, flush=True)
        server.wait(120.0)
