"""Against pyigtl, another implementation in Python: both ways, as far as it goes."""

import signal
import time

import numpy as np
import pytest
from made_messages import MADE_VALUES, MATRIX, made_messages

from needleplan.io.openigtlink.client import OpenIGTLinkClient
from needleplan.io.openigtlink.image_body import Image
from needleplan.io.openigtlink.messages import Message, decode_message
from needleplan.io.openigtlink.options import ClientOptions, ServerOptions
from needleplan.io.openigtlink.pose_bodies import Transform
from needleplan.io.openigtlink.server import OpenIGTLinkServer
from needleplan.io.openigtlink.text_bodies import Text

pyigtl = pytest.importorskip("pyigtl", reason="pyigtl is not installed")
TIMEOUT_S = 20.0
TIME_S = 1_700_000_000.5
MADE = made_messages()
#: Oblique, anisotropic.
AFFINE = MATRIX @ np.diag([0.5, 1.0, 2.0, 1.0])


def test_both_write_the_same_bytes():
    pairs = [
        (Transform(MATRIX), pyigtl.TransformMessage(MATRIX, TIME_S, "Device")),
        (Text("select 2"), pyigtl.StringMessage("select 2", TIME_S, "Device")),
        (
            MADE["POINT"].body,
            pyigtl.PointMessage(
                [[1.25, -2.5, 3.75], [2.25, -2.5, 3.75]], ["entry", "target"],
                [[10, 20, 30, 255], [10, 20, 30, 254]], [4.5, 4.5], "Fiducial", "CT", TIME_S, "Device",
            ),
        ),
    ]  # fmt: skip
    for ours, theirs in pairs:
        assert Message.at(TIME_S, "Device", ours).encode() == theirs.pack()


def test_its_metadata_are_read():
    theirs = pyigtl.StringMessage("select 2", TIME_S, "Device")
    theirs.header_version, theirs.metadata = 2, {"side": "left", "phase": "exhale"}
    message = decode_message(theirs.pack())
    assert message.metadata == (("side", "left"), ("phase", "exhale"))
    assert message.body == Text("select 2") and message.time_s == TIME_S


@pytest.mark.parametrize("system", ["ras", "lps"])
def test_an_image_has_the_same_place_in_both(system):
    theirs = pyigtl.ImageMessage(MADE_VALUES, AFFINE, system, TIME_S, "CT")
    body = decode_message(theirs.pack()).body
    assert isinstance(body, Image) and body.frame.value == system.upper()
    np.testing.assert_array_equal(body.values, MADE_VALUES)
    np.testing.assert_allclose(body.voxel_to_world, AFFINE, atol=1e-5)
    data = Message("CT", Image(MADE_VALUES, AFFINE)).encode()
    again = pyigtl.ImageMessage()
    again.unpack(pyigtl.messages.MessageBase.parse_header(data[:58]), data[58:])
    np.testing.assert_array_equal(again.image, MADE_VALUES)
    np.testing.assert_allclose(again.ijk_to_world_matrix, AFFINE, atol=1e-5)
    assert again.world_coordinate_system == "ras"


def test_its_client_and_this_server():
    with OpenIGTLinkServer(ServerOptions(port=0)) as server:
        peer = pyigtl.OpenIGTLinkClient("127.0.0.1", server.port)
        try:
            assert server.wait_for_clients(1, TIMEOUT_S)
            server.send(Message.at(TIME_S, "Needle", Transform(MATRIX)))
            server.send(Message.at(TIME_S, "Words", Text("hold")))
            theirs = peer.wait_for_message("Needle", TIMEOUT_S)
            np.testing.assert_allclose(theirs.matrix, MATRIX, atol=1e-5)
            assert theirs.timestamp == pytest.approx(TIME_S, abs=1e-6)
            assert peer.wait_for_message("Words", TIMEOUT_S).string == "hold"
            peer.send_message(pyigtl.TransformMessage(MATRIX, TIME_S, "Tracked"), wait=True)
            received = server.receive(TIMEOUT_S)
            assert received.message.device == "Tracked" and received.message.time_s == TIME_S
            np.testing.assert_allclose(received.message.body.matrix, MATRIX, atol=1e-5)
        finally:
            peer.stop()


def test_its_server_and_this_client():
    # Port 0 is not reported by it, so a free one is looked for.
    with OpenIGTLinkServer(ServerOptions(port=0)) as probe:
        port = probe.port
    # It puts handlers of its own on these signals and leaves them there.
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    peer = pyigtl.OpenIGTLinkServer(port=port, local_server=True)
    try:
        with OpenIGTLinkClient(ClientOptions(port=port)) as client:
            assert client.wait_until_connected(TIMEOUT_S)
            client.send(Message.at(TIME_S, "Needle", Transform(MATRIX)))
            np.testing.assert_allclose(peer.wait_for_message("Needle", TIMEOUT_S).matrix, MATRIX, atol=1e-5)
            peer.send_message(pyigtl.StringMessage("go", TIME_S, "Words"), wait=False)
            assert client.receive(TIMEOUT_S).message.body == Text("go")
    finally:
        peer.communication_thread_stop_requested = True
        time.sleep(0.05)
        peer.stop()
        for number, handler in before.items():
            signal.signal(number, handler)
