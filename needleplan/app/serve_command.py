"""What the serve command does: navigation software is shown a plan, sends a tracked needle, and gets guidance."""

import argparse
import difflib
import gc
import signal
from argparse import Namespace
from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from needleplan.app.argument_groups import add_folder, whole_number

if TYPE_CHECKING:
    from needleplan.app.serve.options import ServeOptions
    from needleplan.navigation.options import SessionOptions
    from needleplan.plan import Vector3

_DEVICES = ("needle", "reference", "breathing")


def add_serve(parser: argparse.ArgumentParser) -> None:
    """Options of the serve command."""
    add_folder(parser)
    wire = parser.add_argument_group("network")
    wire.add_argument("--port", type=whole_number, default=18944, help="0 takes a free one (18944)")
    wire.add_argument(
        "--bind", default="127.0.0.1", metavar="ADDRESS",
        help="another address opens it to the network, unencrypted and without a password (127.0.0.1)",
    )  # fmt: skip
    wire.add_argument("--clients", type=whole_number, default=8, metavar="N", help="more are turned away (8)")
    wire.add_argument("--rate-hz", type=float, default=60.0, help="guidance a second (60)")
    record = parser.add_argument_group("record")
    record.add_argument("--log", type=Path, metavar="FILE", help="log of the session (DIR/session.log)")
    record.add_argument("--resume", action="store_true", help="go on with a log, after a kill for instance")
    register = parser.add_argument_group("registration").add_mutually_exclusive_group()
    register.add_argument("--fiducials", type=Path, metavar="FILE", help="Slicer markups, touched with the tip")
    register.add_argument("--registration", type=Path, metavar="FILE", help="X_PR as .tfm or .h5")
    register.add_argument(
        "--poses-in-patient", action="store_true", help="the needle comes registered, in patient coordinates (RAS)"
    )
    poses = parser.add_argument_group("poses and breathing")
    poses.add_argument(
        "--registration-mm", type=float, metavar="MM",
        help="standard deviation, each component, of a registration that is handed in",
    )  # fmt: skip
    for name in _DEVICES:
        poses.add_argument(
            f"--{name}", default=name.capitalize(), metavar="NAME", help=f"device ({name.capitalize()})"
        )
    poses.add_argument(
        "--sender-clock", choices=("shared", "own", "arrival"), default="shared",
        help="stamps are by this machine's clock, by the sender's own, or say nothing (shared)",
    )  # fmt: skip
    poses.add_argument("--no-breathing", action="store_true", help="apnoea or a phantom: no signal comes")
    poses.add_argument(
        "--breathing-direction", metavar="X,Y,Z",
        help="patient LPS, of a signal of one value (to the feet)",
    )  # fmt: skip
    poses.add_argument(
        "--limit", action="append", default=[], metavar="NAME=VALUE",
        help="a limit of the session, for instance gate_mm=3; may be repeated",
    )  # fmt: skip
    more = parser.add_argument_group("robot and planning again")
    more.add_argument("--robot", metavar="NAME", help="show the route of this robot of DIR/robots")
    more.add_argument("--no-replan", action="store_true", help="do not search paths for planning again")


def run_serve(options: Namespace) -> int:
    """Serve the plan of a folder until it is stopped."""
    from rich.console import Console

    from needleplan.app.cli import EXIT_OK
    from needleplan.app.folder import PlanFolder
    from needleplan.app.outputs import load_planned
    from needleplan.app.progress import progress_bar
    from needleplan.app.serve.job_process import JobProcess
    from needleplan.app.serve.jobs import Patient
    from needleplan.app.serve.navigation_server import NavigationServer
    from needleplan.app.serve.opening import (
        LOG_NAME,
        fiducials_of,
        new_session,
        open_recorded,
        stated_registration,
        what_is_shown,
    )
    from needleplan.errors import NavigationError, OptionError
    from needleplan.io.plan_file import plan_hash

    console = Console()
    asked = options_from(options)
    folder = PlanFolder(options.folder)
    log: Path = options.log or folder.root / LOG_NAME
    if log.exists() != options.resume:
        # Told before the case is read, which takes long.
        raise OptionError(
            f"{log.name}: there is no such log to go on with"
            if options.resume
            else f"{log.name}: there is a log already, and none is written over; go on with it by --resume, or "
            "name another by --log"
        )
    points = fiducials_of(options.fiducials)
    with progress_bar(console, "reading plan and case") as progress:
        planned = load_planned(folder, options.data, progress)
    patient = Patient(planned.plan, planned.queries, planned.zone_model)
    session = new_session(patient, asked)
    with progress_bar(console, "zones and route"):
        shown = what_is_shown(patient, folder, options.robot, session)
    recorded, clock = open_recorded(log, session, options.resume)
    with recorded:
        if session.registration is None:
            registered = stated_registration(patient, options.registration, asked, clock())
            if registered is not None:
                recorded.take(registered)
        jobs = JobProcess(patient, not options.no_replan)
        try:
            # A full collection of all that was loaded takes 0.1 s, six guidances; it lives as long as the server.
            gc.collect()
            gc.freeze()
            server = NavigationServer(
                recorded, patient, jobs, clock, asked, shown, points, lambda said: console.print(said, markup=False)
            )
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: server.stop())
            with server:
                console.print(
                    f"listening on {options.bind}:{server.port}, plan {plan_hash(planned.plan)[:12]} of "
                    f"{planned.plan.case_name}, {len(session.planned)} needles, log {log.name}, research software, "
                    "not a medical device",
                    markup=False,
                    soft_wrap=True,
                )
                if not ip_address(options.bind).is_loopback:
                    console.print(
                        f"warning: every machine that reaches {options.bind} may read and command this session; "
                        "nothing is encrypted",
                        markup=False,
                        soft_wrap=True,
                    )
                server.wait()
            if server.failure is not None:
                raise NavigationError(server.failure)
        finally:
            jobs.close()
    console.print("stopped; the log is closed")
    return EXIT_OK


def options_from(options: Namespace) -> "ServeOptions":
    """Options of the server from those of the command line.

    Raises:
        OptionError: one is impossible or unknown.
    """
    from needleplan.app.serve.options import PoseFrame, SenderClock, ServeOptions, small_messages
    from needleplan.io.openigtlink.options import ServerOptions

    return ServeOptions(
        needle=options.needle,
        reference=options.reference,
        breathing=options.breathing,
        poses=PoseFrame.PATIENT if options.poses_in_patient else PoseFrame.TRACKER,
        clock=SenderClock(options.sender_clock),
        breathing_direction=_direction(options.breathing_direction),
        rate_hz=options.rate_hz,
        registration_mm=options.registration_mm,
        server=ServerOptions(options.bind, options.port, options.clients, small_messages()),
        session=_limits(options.limit, not options.no_breathing),
    )


def _limits(words: list[str], breathing: bool) -> "SessionOptions":
    from needleplan.errors import OptionError
    from needleplan.navigation.options import SessionOptions

    known = [field.name for field in fields(SessionOptions) if field.type in (float, "float")]
    given: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.4)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise OptionError(f"there is no limit {name!r}: {hint}")
        try:
            given[name] = float(value)
        except ValueError:
            raise OptionError(f"the limit {name} must be a number, as in {name}=2, not {value!r}") from None
    return SessionOptions(breathing=breathing, **given)


def _direction(text: str | None) -> "Vector3 | None":
    from needleplan.errors import OptionError

    if text is None:
        return None
    try:
        x, y, z = (float(word) for word in text.split(","))
    except ValueError:
        raise OptionError(f"a direction is three numbers, as in 0,0,-1, not {text!r}") from None
    return x, y, z
