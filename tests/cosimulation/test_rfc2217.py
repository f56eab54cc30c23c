"""A board behind a serial server (RFC 2217): that of pyserial, with a virtual board behind it."""

import socket
import threading
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import serial
import serial.rfc2217

from qcloop.array import GoldenArray, Region
from qcloop.device import builtin
from qcloop.errors import LinkError
from qcloop.link.ports import open_array

# pyserial 3.5 names and marks its thread in an old way.
pytestmark = pytest.mark.filterwarnings("ignore:set(Daemon|Name)\\(\\) is deprecated:DeprecationWarning")


class _Writer:
    """What the server's half of the protocol writes its negotiation to."""

    def __init__(self, connection):
        self.write = connection.sendall


def _serve(listener, url):
    connection, _ = listener.accept()
    with connection, serial.serial_for_url(url, timeout=0.05) as port, suppress(OSError):
        manager = serial.rfc2217.PortManager(port, _Writer(connection))
        ended = threading.Event()

        def to_client():
            with suppress(OSError, serial.SerialException):
                while not ended.is_set():
                    if data := port.read(max(1, port.in_waiting)):
                        connection.sendall(b"".join(manager.escape(data)))

        reader = threading.Thread(target=to_client)
        reader.start()
        while data := connection.recv(4096):
            port.write(b"".join(manager.filter(data)))
        ended.set()
        reader.join()


@contextmanager
def serial_server(url):
    """Serve a port to one client; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_serve, args=(listener, url), daemon=True)
        server.start()
        yield f"rfc2217://127.0.0.1:{listener.getsockname()[1]}"
        server.join(timeout=10)
        assert not server.is_alive()


def test_an_array_behind_a_serial_server_has_the_integers_of_the_golden_model(started):
    region, rng = Region(0, 40, 12), np.random.default_rng(1)
    levels, x = rng.integers(0, 32, (40, 12), np.uint8), rng.integers(0, 256, (50, 40), np.uint8)
    with serial_server(started("--tcp", "127.0.0.1:0")) as url:
        array = open_array(url, 3_000_000)
        golden = GoldenArray(array.config)
        for each in (array, golden):
            each.configure(builtin("B").array_settings(seed=3))
            each.program_block(region, levels)
        for _ in range(3):
            np.testing.assert_array_equal(array.forward(region, x, 8), golden.forward(region, x, 8))
        for ours, theirs in zip(array.read(region), golden.read(region), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert array.link.counts.damaged == 0
        array.close()


def test_no_serial_server_is_one_line():
    with pytest.raises(LinkError, match=r"rfc2217://127\.0\.0\.1:9"):
        open_array("rfc2217://127.0.0.1:9")
