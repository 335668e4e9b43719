"""Server and client over real sockets: several, slow, vanishing and hostile peers, and what is left behind."""

import contextlib
import errno
import socket
import threading
import time

import numpy as np
import pytest
from made_messages import MATRIX, made_messages

from needleplan.errors import NetworkError, OptionError
from needleplan.io.openigtlink.client import OpenIGTLinkClient
from needleplan.io.openigtlink.image_body import Image
from needleplan.io.openigtlink.link import LinkEvent, LinkEventKind, Received
from needleplan.io.openigtlink.messages import Message
from needleplan.io.openigtlink.options import ClientOptions, LinkOptions, ServerOptions
from needleplan.io.openigtlink.pose_bodies import Transform
from needleplan.io.openigtlink.server import OpenIGTLinkServer
from needleplan.io.openigtlink.stream import StreamLimits, StreamParser
from needleplan.io.openigtlink.text_bodies import Status, StatusCode, Text

WAIT_S = 10.0
NEEDLE = Message("Needle", Transform(MATRIX))


def serve(clients: int = 8, on_message=None, on_event=None, **link) -> OpenIGTLinkServer:
    options = ServerOptions(port=0, clients=clients, link=LinkOptions(**link))
    return OpenIGTLinkServer(options, on_message, on_event)


def call(server: OpenIGTLinkServer, **options) -> OpenIGTLinkClient:
    link = LinkOptions(messages_per_s=1e6, inbox_messages=100_000)
    return OpenIGTLinkClient(ClientOptions(port=server.port, first_wait_s=0.02, link=link, **options))


@contextlib.contextmanager
def raw_peer(server: OpenIGTLinkServer, receive_bytes: int | None = None):
    """A plain socket that is connected to a server."""
    with socket.socket() as peer:
        if receive_bytes is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        peer.settimeout(WAIT_S)
        peer.connect(("127.0.0.1", server.port))
        assert server.wait_for_clients(1, WAIT_S)
        yield peer


def event_of(link: OpenIGTLinkServer | OpenIGTLinkClient, kind: LinkEventKind) -> LinkEvent:
    """The next event of a kind; those before it are lost."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        for event in link.events():
            if event.kind is kind:
                return event
        time.sleep(0.005)
    raise AssertionError(f"there was no event {kind}")


def offset(message: Message) -> float:
    return float(message.body.matrix[0, 3])


def shifted(value: float, device: str = "Needle") -> Message:
    matrix = MATRIX.copy()
    matrix[0, 3] = value
    return Message(device, Transform(matrix))


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before]
    assert not left, left


def test_messages_go_both_ways_with_their_time_of_arrival():
    with serve() as server, call(server) as client:
        assert client.wait_until_connected(WAIT_S) and server.wait_for_clients(1, WAIT_S)
        begin = time.monotonic()
        for message in made_messages().values():
            assert server.send(message) == 1 and client.send(message)
            for received in (client.receive(WAIT_S), server.receive(WAIT_S)):
                assert received.message.encode() == message.encode()
                assert begin <= received.arrival_s <= time.monotonic()
        assert server.receive(0.01) is None
    assert server.peers == () and not client.is_connected


def test_it_listens_at_loopback_unless_told_otherwise():
    assert ServerOptions().host == ClientOptions().host == "127.0.0.1" and ServerOptions().port == 18944
    with serve() as server:
        assert server.port > 0
        with pytest.raises(NetworkError, match="no server can listen at"):
            OpenIGTLinkServer(ServerOptions(port=server.port))
    with pytest.raises(NetworkError, match=r"203\.0\.113\.7"):
        OpenIGTLinkServer(ServerOptions(host="203.0.113.7", port=0))


def test_several_clients_and_one_of_them_alone():
    with serve() as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(call(server)) for _ in range(4)]
        assert server.wait_for_clients(4, WAIT_S)
        assert server.send(NEEDLE) == 4
        assert all(client.receive(WAIT_S).message.device == "Needle" for client in clients)
        chosen = server.peers[2].number
        assert server.send(Message("You", Text("alone")), chosen) == 1
        assert server.send(Message("You", Text("nobody")), 99) == 0
        server.send(Message("All", Text("last")))
        got = []
        for client in clients:
            while not got or got[-1] != "last":
                got.append(client.receive(WAIT_S).message.body.text)
            got[-1] = "end"
        assert sorted(got) == ["alone", "end", "end", "end", "end"]


def test_a_client_too_many_is_turned_away():
    with serve(clients=1) as server, raw_peer(server), socket.socket() as second:
        second.settimeout(WAIT_S)
        second.connect(("127.0.0.1", server.port))
        assert second.recv(1) == b""
        assert "1 clients are connected" in event_of(server, LinkEventKind.TURNED_AWAY).sentence
        assert len(server.peers) == 1


def test_a_client_that_the_system_cannot_take_is_told():
    class FullTable:
        def accept(self):
            raise OSError(errno.EMFILE, "Too many open files")

        def close(self):
            pass

    server = serve()
    server._listener.close()
    server._listener = FullTable()
    server._accept()
    assert "Too many open files" in event_of(server, LinkEventKind.TURNED_AWAY).sentence
    server.close()


def test_a_new_client_can_be_greeted():
    def greet(event: LinkEvent) -> None:
        if event.kind is LinkEventKind.CONNECTED:
            server.send(Message("Plan", Text("welcome")), event.peer.number)

    server = serve(on_event=greet)
    with server, call(server) as client:
        assert client.receive(WAIT_S).message.body == Text("welcome")


def test_a_function_takes_messages_and_may_answer():
    def answer(received: Received) -> None:
        server.send(Message("Session", Status(StatusCode.OK)), received.peer.number)

    server = serve(on_message=answer)
    with server, call(server) as client:
        assert client.wait_until_connected(WAIT_S)
        client.send(Message("Command", Text("select 2")))
        assert client.receive(WAIT_S).message.body == Status(StatusCode.OK)
        assert server.receive(0.01) is None


def test_a_function_that_fails_is_told_and_the_link_goes_on():
    def fail(received: Received) -> None:
        raise ValueError("no such needle")

    with serve(on_message=fail) as server, call(server) as client:
        assert client.wait_until_connected(WAIT_S)
        client.send(NEEDLE)
        assert "ValueError: no such needle" in event_of(server, LinkEventKind.HANDLER_FAILED).sentence
        assert client.is_connected


def test_a_slow_client_gets_the_newest_pose_and_holds_nobody_up():
    with serve() as server, raw_peer(server, receive_bytes=4096) as slow, call(server) as quick:
        assert server.wait_for_clients(2, WAIT_S)
        count = 20_000
        begin = time.monotonic()
        for number in range(count):
            server.send(shifted(number))
            if number % 50 == 0:
                server.send(shifted(number, "Reference"))
        took_s = time.monotonic() - begin
        server.send(Message("Words", Text("kept")))
        assert took_s < 10.0
        newest = {}
        while "Words" not in newest:
            message = quick.receive(WAIT_S).message
            newest[message.device] = message
        assert offset(newest["Needle"]) == count - 1
        parser, late = StreamParser(), []
        while not late or late[-1].device != "Words":
            late += parser.feed(slow.recv(65_536))
        poses = [offset(message) for message in late if message.device == "Needle"]
        # Fewer than were sent, in their order, and the last one is the newest.
        assert len(poses) < count and poses == sorted(poses) and poses[-1] == count - 1
        assert offset([message for message in late if message.device == "Reference"][-1]) == count - 50
        assert len(server.peers) == 2


def test_other_messages_may_be_replaced_as_poses_are():
    with serve() as server, raw_peer(server, receive_bytes=4096) as slow:
        for number in range(400):
            server.send(Message("Live", Text(f"{number}".ljust(5000))), newest_only=True)
        parser, got = StreamParser(), []
        while not got or got[-1] != 399:
            got += [int(message.body.text) for message in parser.feed(slow.recv(65_536))]
    assert len(got) < 400 and got == sorted(got)


def test_a_client_for_which_too_much_waits_is_disconnected_and_the_other_stays():
    with serve(outbox_messages=50) as server, raw_peer(server, receive_bytes=4096), call(server) as quick:
        assert server.wait_for_clients(2, WAIT_S)
        for number in range(400):
            server.send(Message("Log", Text(f"{number} " + "x" * 5000)))
            assert quick.receive(WAIT_S).message.body.text.startswith(f"{number} ")
        assert "reads too slowly" in event_of(server, LinkEventKind.DISCONNECTED).sentence
        assert len(server.peers) == 1


def test_a_peer_that_takes_nothing_is_disconnected_after_a_while():
    with serve(stall_s=0.2) as server, raw_peer(server, receive_bytes=4096):
        server.send(Message("CT", Image(np.zeros((40, 200, 200), np.uint8), np.eye(4))))
        assert "taken no byte" in event_of(server, LinkEventKind.DISCONNECTED).sentence


def test_half_a_message_is_not_waited_for_for_ever_but_silence_is_allowed():
    with serve(stall_s=0.2) as server, raw_peer(server) as peer:
        time.sleep(0.5)
        assert len(server.peers) == 1
        peer.sendall(NEEDLE.encode()[:80])
        assert "half a message" in event_of(server, LinkEventKind.DISCONNECTED).sentence
        assert peer.recv(1) == b""


def test_a_message_that_drips_is_not_waited_for_for_ever():
    with serve(stall_s=0.3, message_s=0.6) as server, raw_peer(server) as peer:
        begin_s = time.monotonic()
        # Whole messages one after the other are none that lasts.
        for _ in range(12):
            peer.sendall(NEEDLE.encode())
            time.sleep(0.1)
        assert len(server.peers) == 1 and time.monotonic() - begin_s > 1.0
        with contextlib.suppress(ConnectionError):
            for byte in NEEDLE.encode():
                peer.sendall(bytes([byte]))
                time.sleep(0.05)
                if not server.peers:
                    break
        assert "not whole 0.6 s after it began" in event_of(server, LinkEventKind.DISCONNECTED).sentence


def test_a_peer_that_vanishes_is_noticed():
    with serve() as server:
        with raw_peer(server) as peer:
            peer.sendall(NEEDLE.encode()[:80])
            time.sleep(0.1)
        assert "in the middle of a message" in event_of(server, LinkEventKind.DISCONNECTED).sentence
        with raw_peer(server) as peer:
            # Reset rather than closed.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert event_of(server, LinkEventKind.DISCONNECTED).sentence
        assert server.send(NEEDLE) == 0


def test_a_peer_that_sends_too_often_is_disconnected():
    with serve(messages_per_s=100) as server, raw_peer(server) as peer:
        with contextlib.suppress(ConnectionError):
            for _ in range(300):
                peer.sendall(NEEDLE.encode())
        assert "more than 100 messages a second" in event_of(server, LinkEventKind.DISCONNECTED).sentence


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost:18944\r\nAccept: anything at all\r\n\r\n", "header version"),
        (NEEDLE.encode()[:42] + b"\xff" * 16, "the limit is 48"),
        ((NEEDLE.encode()[:-1] + b"\xaa") * 3, "damaged or malformed"),
    ],
)
def test_a_hostile_peer_is_disconnected_and_the_others_stay(raw, words):
    with serve(stream=StreamLimits(faults=3)) as server, call(server) as good:
        assert server.wait_for_clients(1, WAIT_S) and good.wait_until_connected(WAIT_S)
        with raw_peer(server) as bad:
            bad.sendall(raw)
            assert bad.recv(1) == b""
        assert words in event_of(server, LinkEventKind.DISCONNECTED).sentence
        good.send(NEEDLE)
        assert server.receive(WAIT_S).message.device == "Needle"


def test_an_unknown_type_is_told_and_what_follows_is_read():
    with serve() as server, raw_peer(server) as peer:
        data = NEEDLE.encode()
        peer.sendall(data[:2] + b"NEWKIND".ljust(12, b"\0") + data[14:] + data)
        assert server.receive(WAIT_S).message.device == "Needle"
        assert "NEWKIND are not known" in event_of(server, LinkEventKind.REFUSED).sentence


def test_a_full_inbox_gives_up_poses_but_no_words():
    with serve(inbox_messages=5) as server, call(server) as client:
        assert client.wait_until_connected(WAIT_S)
        client.send(Message("Words", Text("first")))
        for number in range(20):
            client.send(shifted(number))
        assert "given up" in event_of(server, LinkEventKind.INBOX_FULL).sentence
        client.send(Message("Words", Text("last")))
        found = []
        while not found or found[-1].body != Text("last"):
            found.append(server.receive(WAIT_S).message)
        assert found[0].body == Text("first") and offset(found[-2]) == 19
        for number in range(10):
            client.send(Message("Words", Text(str(number))))
        assert "nobody fetches" in event_of(server, LinkEventKind.DISCONNECTED).sentence


def test_a_client_comes_back_when_the_server_does():
    first = serve().start()
    with call(first, longest_wait_s=0.1) as client:
        assert client.wait_until_connected(WAIT_S)
        first.close()
        assert event_of(client, LinkEventKind.DISCONNECTED).sentence == "the peer closed the connection"
        refused = event_of(client, LinkEventKind.NOT_REACHED)
        assert str(first.port) in refused.sentence and "next attempt" in refused.sentence
        assert not client.is_connected and not client.send(NEEDLE)
        with OpenIGTLinkServer(ServerOptions(port=first.port)) as second:
            assert client.wait_until_connected(WAIT_S) and second.wait_for_clients(1, WAIT_S)
            second.send(NEEDLE)
            assert client.receive(WAIT_S).message.device == "Needle"


def test_waits_grow_up_to_the_longest():
    with serve() as free:
        port = free.port
    options = ClientOptions(port=port, first_wait_s=0.05, longest_wait_s=0.2)
    with OpenIGTLinkClient(options) as client:
        said = [event_of(client, LinkEventKind.NOT_REACHED).sentence.split()[-2] for _ in range(4)]
    assert said == ["0.05", "0.1", "0.2", "0.2"]


def test_what_waits_is_sent_before_a_link_is_closed():
    with serve() as server, call(server) as client:
        assert client.wait_until_connected(WAIT_S)
        image = Message("CT", Image(np.ones((60, 200, 200), np.uint8), np.eye(4)))
        client.send(image)
        client.send(Message("Words", Text("last")))
        client.close()
        assert server.receive(WAIT_S).message.type_name == "IMAGE"
        assert server.receive(WAIT_S).message.body == Text("last")


def test_closing_wakes_who_waits_and_may_be_done_twice():
    server = serve().start()
    got: list[Received | None] = []
    waiter = threading.Thread(target=lambda: got.append(server.receive()))
    waiter.start()
    server.close()
    waiter.join(WAIT_S)
    assert got == [None]
    server.close()
    with pytest.raises(NetworkError, match="only once"):
        server.start()
    serve().close()


def test_the_server_may_be_closed_by_its_own_thread():
    closed = threading.Event()

    def stop(received: Received) -> None:
        server.close()
        closed.set()

    server = serve(on_message=stop).start()
    with call(server) as client:
        assert client.wait_until_connected(WAIT_S)
        client.send(NEEDLE)
        assert closed.wait(WAIT_S)
    server.close()


def test_many_threads_may_send_at_once():
    with serve(messages_per_s=1e6) as server:
        with call(server) as client:
            assert server.wait_for_clients(1, WAIT_S)
            names = [f"Words {k}" for k in range(4)]

            def send(name: str) -> None:
                for number in range(200):
                    server.send(Message(name, Text(str(number))))

            threads = [threading.Thread(target=send, args=(name,)) for name in names]
            for thread in threads:
                thread.start()
            found: dict[str, list[int]] = {name: [] for name in names}
            for _ in range(800):
                message = client.receive(WAIT_S).message
                found[message.device].append(int(message.body.text))
            for thread in threads:
                thread.join()
    assert all(numbers == list(range(200)) for numbers in found.values())


@pytest.mark.parametrize(
    "make",
    [
        lambda: ServerOptions(port=70_000),
        lambda: ServerOptions(clients=0),
        lambda: ClientOptions(port=0),
        lambda: ClientOptions(first_wait_s=1.0, longest_wait_s=0.5),
        lambda: LinkOptions(stall_s=0.0),
        lambda: LinkOptions(message_s=float("inf")),
        lambda: LinkOptions(messages_per_s=float("nan")),
    ],
)
def test_impossible_options_are_refused(make):
    with pytest.raises(OptionError, match="must lie between"):
        make()


def test_a_host_that_is_not_known_is_named():
    with pytest.raises(NetworkError, match="no-such-host"):
        OpenIGTLinkClient(ClientOptions(host="no-such-host.invalid"))
