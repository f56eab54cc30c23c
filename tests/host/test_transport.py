"""Serial ports: what is said when one cannot be opened or is lost; pyserial itself is replaced."""

import errno
import os
import sys
import types
from pathlib import Path

import pytest
import serial
from serial.tools import list_ports

from qcloop.errors import LinkError
from qcloop.link.ports import found_ports
from qcloop.link.transport import SerialTransport


class FakePort:
    """A port without a file descriptor, as pyserial has them on Windows and for rfc2217."""

    def __init__(self, incoming=b"", error=None):
        self.incoming, self.error, self.timeout = incoming, error, None
        self.written, self.low_latency, self.closed = b"", None, False

    def fileno(self):
        raise AttributeError

    @property
    def in_waiting(self):
        return len(self.incoming)

    def read(self, size):
        if self.error:
            raise self.error
        data, self.incoming = self.incoming[:size], self.incoming[size:]
        return data

    def write(self, data):
        if self.error:
            raise self.error
        self.written += data

    def set_low_latency_mode(self, on):
        self.low_latency = on

    def close(self):
        self.closed = True


@pytest.fixture
def opened(monkeypatch):
    """Let pyserial open a given port; returns what it was asked for."""

    def use(port):
        asked = []

        def serial_for_url(url, **options):
            asked.append((url, options))
            if isinstance(port, Exception):
                raise port
            return port

        monkeypatch.setattr(serial, "serial_for_url", serial_for_url)
        return asked

    return use


def test_a_device_is_opened_for_one_process_and_with_low_latency(opened):
    port = FakePort()
    asked = opened(port)
    SerialTransport("/dev/ttyUSB1", 3_000_000)
    ((url, options),) = asked
    assert url == "/dev/ttyUSB1"
    assert options["exclusive"] is True and options["baudrate"] == 3_000_000
    assert port.low_latency is True


def test_a_driver_without_low_latency_is_no_error(opened):
    port = FakePort()
    port.set_low_latency_mode = lambda on: (_ for _ in ()).throw(OSError("not supported"))
    opened(port)
    SerialTransport("/dev/ttyACM0", 115200)


def test_all_that_is_there_is_read_at_once(opened):
    opened(FakePort(b"12345678"))
    assert SerialTransport("COM3", 115200).read(0.1) == b"12345678"


def test_nothing_there_is_no_error(opened):
    opened(FakePort())
    assert SerialTransport("COM3", 115200).read(0.01) == b""


@pytest.mark.parametrize(
    "error",
    [
        serial.SerialException(
            "device reports readiness to read but returned no data (device disconnected?)"
        ),
        OSError(errno.EIO, "Input/output error"),
        TypeError("'NoneType' object cannot be interpreted as an integer"),
    ],
)
def test_case_4_an_unplugged_port_is_one_error_with_what_to_do(opened, error):
    port = FakePort(error=error)
    opened(port)
    transport = SerialTransport("/dev/ttyUSB1", 115200)
    with pytest.raises(LinkError, match=r"connection to /dev/ttyUSB1 was lost .*: plug it in again$"):
        transport.read(0.1)
    if not isinstance(error, TypeError):
        with pytest.raises(LinkError, match="was lost"):
            transport.write(b"x")
    assert LinkError.exit_code == 3


def test_case_6_a_missing_port_and_a_missing_permission_are_told_apart(opened, monkeypatch, tmp_path):
    device = tmp_path / "ttyUSB1"
    device.write_text("")
    opened(serial.SerialException(errno.ENOENT, "could not open port"))
    with pytest.raises(LinkError, match=rf"there is no port {device}: `qcloop ports` lists"):
        SerialTransport(str(device), 115200)
    opened(serial.SerialException(errno.EACCES, "could not open port"))
    grp = types.SimpleNamespace(getgrgid=lambda gid: types.SimpleNamespace(gr_name="dialout"))
    monkeypatch.setitem(sys.modules, "grp", grp)
    monkeypatch.setattr(Path, "stat", lambda self: types.SimpleNamespace(st_gid=20))
    with pytest.raises(
        LinkError, match=rf"may not open {device}: join the group dialout .*usermod -aG dialout"
    ):
        SerialTransport(str(device), 115200)


def test_nobody_is_told_to_join_the_group_of_root(opened, monkeypatch, tmp_path):
    opened(serial.SerialException(errno.EACCES, "could not open port"))
    monkeypatch.setattr(Path, "stat", lambda self: types.SimpleNamespace(st_gid=0))
    with pytest.raises(LinkError, match=r"it belongs to root alone.* udev rule .*dialout") as caught:
        SerialTransport(str(tmp_path), 115200)
    assert "usermod" not in str(caught.value)


@pytest.mark.parametrize("url", ["socket://127.0.0.1", "socket://127.0.0.1:x", "socket://:99999", "socket:"])
def test_a_socket_without_a_port_is_named(url):
    with pytest.raises(LinkError, match=rf"{url} must name host and port, as socket://127\.0\.0\.1:7000"):
        SerialTransport(url, 115200)


@pytest.mark.parametrize("baud", [0, -1, 10**20])
def test_a_baud_rate_that_cannot_be_is_named(baud):
    with pytest.raises(LinkError, match=rf"the baud rate must be 50\.\.100000000, not {baud}"):
        SerialTransport("/dev/ttyUSB1", baud)


def test_case_5_a_busy_port_is_told(opened):
    for error in (
        serial.SerialException(errno.EAGAIN, "Could not exclusively lock port"),
        serial.SerialException(
            "could not open port 'COM3': PermissionError(13, 'Access is denied.', None, 5)"
        ),
    ):
        opened(error)
        with pytest.raises(LinkError, match="COM3 is in use by another program"):
            SerialTransport("COM3", 115200)


def test_a_url_that_pyserial_does_not_know_is_an_error():
    with pytest.raises(LinkError, match="cannot open nonsense://x"):
        SerialTransport("nonsense://x", 115200)


def test_case_7_macos_modem_ports_are_refused_and_not_listed(opened, monkeypatch):
    opened(FakePort())
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(
        LinkError, match=r"/dev/tty\.usbserial-1 waits for a modem: open /dev/cu\.usbserial-1"
    ):
        SerialTransport("/dev/tty.usbserial-1", 115200)
    names = ["/dev/tty.usbserial-1", "/dev/cu.usbserial-1", "/dev/cu.Bluetooth"]
    monkeypatch.setattr(
        list_ports,
        "comports",
        lambda: [types.SimpleNamespace(device=name, description=None) for name in names],
    )
    assert [port.device for port in found_ports()] == ["/dev/cu.Bluetooth", "/dev/cu.usbserial-1"]


def test_case_7_high_com_ports_are_left_to_pyserial(opened):
    asked = opened(FakePort())
    SerialTransport("COM12", 115200)
    assert asked[0][0] == "COM12"


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX's")
def test_a_real_port_waits_no_longer_than_it_has_to():
    import pty
    import tty

    board, client = pty.openpty()
    tty.setraw(client)
    transport = SerialTransport(os.ttyname(client), 115200)
    assert transport.read(0.01) == b""
    os.write(board, b"hello")
    assert transport.read(5) == b"hello"
    transport.write(b"you")
    assert os.read(board, 10) == b"you"
    transport.close()
    os.close(board)
    os.close(client)
