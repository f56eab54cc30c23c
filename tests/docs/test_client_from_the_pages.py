"""A client that was written from docs/link.md and docs/array.md alone, against the gateware of a board.

It imports nothing of what it tests: whatever a client of one's own needs must be on these two pages.
"""

import re
import shutil
import struct
import zlib

import pytest
from tutorial_blocks import ROOT

LINK, ARRAY = ((ROOT / "docs" / name).read_text() for name in ("link.md", "array.md"))


def rows_below(page, *heads):
    """Return the rows of the table of a page whose head begins with these cells."""
    head = re.escape("| " + " | ".join(heads) + " |")
    (rows,) = re.findall(rf"^{head}.*\n\|[-|]+\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    return [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows.splitlines()]


def whole(text):
    """Return an integer such as 10^12, 0xFF or 7."""
    base, _, power = text.partition("^")
    return int(base, 0) ** int(power or 1)


# -- the generator, from array.md -------------------------------------------------------------------

TABLE = [[int(entry) for entry in row[1:]] for row in rows_below(ARRAY, "t", "0", "1", "2")]
#: Bits of a register, and the two lags of its recurrence; the middle power of its polynomial.
A, B = (127, 64, 63), (89, 51, 38)


def splitmix64(seed):
    words = []
    for n in range(1, 5):
        x = (seed + n * 0x9E3779B97F4A7C15) % 2**64
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
        words.append(x ^ x >> 31)
    return words


def extended(bits, register, count):
    """Return ``count`` bits of a sequence that begins with those of a register."""
    length, lag, _ = register
    bits = list(bits)
    while len(bits) < count:
        bits.append(bits[-length] ^ bits[-lag])
    return bits[:count]


def jumped(bits, register, distance):
    """Return the register's bits so far ahead: x^distance modulo the polynomial says which to add."""
    length, _, middle = register
    power = 1
    for digit in f"{distance:b}":
        square = int("".join(f"0{bit}" for bit in f"{power:b}"), 2) << int(digit)
        for high in range(square.bit_length() - 1, length - 1, -1):
            if square >> high & 1:
                square ^= (1 << length | 1 << middle | 1) << (high - length)
        power = square
    bits = extended(bits, register, 2 * length)
    terms = [k for k in range(length) if power >> k & 1]
    return [sum(bits[k + j] for k in terms) % 2 for j in range(length)]


def registers(seed, stream, position):
    """Return the bits of A and B at a position of a stream."""
    o = splitmix64(seed)
    both = []
    for register, low, high in ((A, o[0], o[1]), (B, o[2], o[3])):
        value = (low + (high << 64)) % 2 ** register[0] or 1
        bits = [value >> j & 1 for j in range(register[0])]
        both.append(jumped(bits, register, (stream << 64) + 16 * position))
    return both


def uniform(a, b, count):
    return [one ^ two for one, two in zip(extended(a, A, count), extended(b, B, count), strict=True)]


def sample(bits):
    """Return z of 16 bits."""
    z = 0
    for t in range(4):
        number = sum(bit << place for place, bit in enumerate(bits[4 * t : 4 * t + 4]))
        z += -TABLE[t][number % 8] if number >= 8 else TABLE[t][number]
    return z


def samples(seed, stream, position, count):
    bits = uniform(*registers(seed, stream, position), 16 * count)
    return [sample(bits[16 * k : 16 * k + 16]) for k in range(count)]


VECTORS = rows_below(ARRAY, "seed", "stream", "position", "A")


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: "-".join(row[:3]))
def test_samples_of_the_page(row):
    seed, stream, position = map(whole, row[:3])
    a, b = registers(seed, stream, position)
    for bits, shown in ((a, row[3]), (b, row[4])):
        assert sum(bit << j for j, bit in enumerate(bits)) == int(shown.replace(" ", ""), 16)
    assert samples(seed, stream, position, 8) == [int(z) for z in row[5].split()]


# -- the seed of a generator in gateware, from link.md ----------------------------------------------

SEED_BITS = 216
DISTANCE = {
    int(lanes): int(distance)
    for lanes, distance in zip(
        re.search(r"^\| lanes P \| (.*) \|$", LINK, re.MULTILINE)[1].split(" | "),
        re.search(r"^\| D \| (.*) \|$", LINK, re.MULTILINE)[1].split(" | "),
        strict=True,
    )
}


def made_by(seed, lanes):
    """Return the bits from which a generator goes on that has taken 27 bytes, as an integer."""
    step, first = 16 * lanes, 27 * 16 * lanes - max(127, 16 * lanes)
    f = [0] * (first + SEED_BITS + 89)
    for n, byte in enumerate(seed):
        for c in range(8):
            f[n * step + 89 + DISTANCE[lanes] * c] = byte >> c & 1
    u, w = [], [0] * 89
    for i in range(first + SEED_BITS):
        w.append(w[i] ^ w[i + 38] ^ f[i + 89])
        u.append((u[i - 127] if i >= 127 else 0) ^ (u[i - 64] if i >= 64 else 0) ^ w[i])
    return sum(bit << j for j, bit in enumerate(u[first:]))


def seed_of(bits, lanes):
    """Return the 27 bytes after which a generator goes on with these 216 bits: Gaussian elimination."""
    solved = {}
    for number in range(SEED_BITS):
        made, sent = made_by((1 << number).to_bytes(27, "little"), lanes), 1 << number
        while made and (top := made.bit_length()) in solved:
            made, sent = made ^ solved[top][0], sent ^ solved[top][1]
        solved[made.bit_length()] = made, sent
    left, seed = sum(bit << j for j, bit in enumerate(bits)), 0
    while left:
        made, sent = solved[left.bit_length()]
        left, seed = left ^ made, seed ^ sent
    return seed.to_bytes(27, "little")


@pytest.mark.parametrize(
    "row", rows_below(LINK, "stream", "position", "lanes"), ids=lambda row: "-".join(row[:3])
)
def test_the_seeds_of_the_page(row):
    stream, position, lanes = map(whole, row[:3])
    assert seed_of(uniform(*registers(1, stream, position), SEED_BITS), lanes).hex() == row[3]


# -- frames and operations, from link.md ------------------------------------------------------------

#: Values by name, from the tables of the page.
KIND, OPCODE, STATUS = (
    {row[0]: int(row[1]) for row in rows_below(LINK, *head)}
    for head in (("kind", "value"), ("operation", "opcode"), ("status", "value"))
)
HEADER = struct.Struct("<BBBHHH")
#: Clocks in which a board does all that follows from a frame.
PATIENCE = 20_000


def cobs(content):
    encoded = b""
    for run in content.split(b"\0"):
        while len(run) >= 254:
            encoded, run = encoded + b"\xff" + run[:254], run[254:]
        encoded += bytes([len(run) + 1]) + run
    return encoded


def uncobs(encoded):
    content = b""
    while encoded:
        size, code = encoded[0] - 1, encoded[0]
        content, encoded = content + encoded[1 : 1 + size], encoded[1 + size :]
        if encoded and code < 255:
            content += b"\0"
    return content


def frame(kind, session, seq=0, ack=0, payload=b""):
    content = HEADER.pack(KIND[kind], session, 0, seq, ack, 0) + payload
    return cobs(content + struct.pack("<I", zlib.crc32(content))) + b"\0"


def taken_apart(line):
    """Return (kind, session, attempt, seq, ack, limit, payload) of each frame on the line."""
    *frames, rest = line.split(b"\0")
    assert rest == b""
    contents = [uncobs(encoded) for encoded in frames]
    for content in contents:
        assert struct.unpack("<I", content[-4:]) == (zlib.crc32(content[:-4]),)
    return [(*HEADER.unpack(content[:9]), content[9:-4]) for content in contents]


class Client:
    """A host that sends one request after the other, and hears what the board says to each."""

    def __init__(self, board):
        self.line = lambda data: taken_apart(board.run(data, PATIENCE)[0])
        ((kind, *_, payload),) = self.line(b"\0\0" + frame("IDENTIFY", 0))
        assert (kind, payload[:4]) == (KIND["IDENTITY"], b"QCLK")
        self.session = payload[5] % 255 + 1
        ((kind, session, _, seq, ack, limit, payload),) = self.line(frame("OPEN", self.session))
        assert (kind, session, seq, ack) == (KIND["IDENTITY"], self.session, 0, 0)
        assert limit == int.from_bytes(payload[8:10], "little")
        self.sent = self.came = 0

    def ask(self, operation, operands=b"", status="OK"):
        """Return the results of a request, whatever the number of frames it takes."""
        request = struct.pack("<BH", OPCODE[operation], len(operands)) + operands
        answer = b""
        for start in range(0, len(request), 480):
            answer += self._say("DATA", request[start : start + 480])
        while len(answer) < 3 or len(answer) < 3 + int.from_bytes(answer[1:3], "little"):
            more = self._say("ACK")
            assert more, "the board has nothing more to say"
            answer += more
        assert struct.unpack("<BH", answer[:3]) == (STATUS[status], len(answer) - 3)
        return answer[3:]

    def _say(self, kind, chunk=b""):
        """Send a frame; return what comes of the stream of answers."""
        frames = self.line(frame(kind, self.session, self.sent % 65536, self.came % 65536, chunk))
        self.sent += len(chunk)
        answers = b""
        for kind, session, _, seq, _, _, payload in frames:
            assert session == self.session
            if kind == KIND["DATA"]:
                assert seq == self.came % 65536
                self.came += len(payload)
                answers += payload
        return answers


@pytest.fixture(scope="module")
def board():
    if shutil.which("g++") is None:
        pytest.skip("a compiled board needs g++")
    from qcloop_hdl.config import SIZES
    from qcloop_sim.board import CompiledBoard

    board = CompiledBoard(SIZES["small"])
    board.run(b"", 1 << 16)  # it clears its memory
    return board


def test_the_bytes_of_the_page(board):
    rows = rows_below(LINK, "from", "frame", "bytes on the line")
    for (one, _, asked), (other, _, answer) in zip(rows[::2], rows[1::2], strict=True):
        assert (one, other) == ("host", "board")
        assert board.run(bytes.fromhex(asked), PATIENCE)[0].hex(" ") == answer


SETTINGS = rows_below(
    LINK[LINK.index("`SETTINGS` of the array:") : LINK.index("Words of several")],
    "byte",
    "bytes",
    "field",
    "values",
    "meaning",
)
REGION = struct.Struct("<HHH")
SEED, LANES, STATES = 2026, 4, ((40, 0), (300, 800), (700, 1600), (1000, 4095))


def configure(read_spread=0, table=STATES, seeds=bytes(54), **settings):
    """Return the operands of CONFIGURE: settings in the order of the page, seeds, table."""
    usual = {"tries": 1, "reference": 512, "read_spread": read_spread} | settings
    operands = b"".join(usual.get(name, 0).to_bytes(int(size), "little") for _, size, name, *_ in SETTINGS)
    entries = (mean | spread << 10 for mean, spread in table)
    return operands + seeds + b"".join(entry.to_bytes(3, "little") for entry in entries)


def seed(stream, position, lanes):
    return seed_of(uniform(*registers(SEED, stream, position), SEED_BITS), lanes)


def noisy(mean, spread, z):
    return max(0, min(1023, mean + (spread * z + 256 >> 9)))


def test_programming_and_products_have_the_samples_of_both_generators(board):
    client, rows, cols, r = Client(board), 6, 7, 500
    client.ask("CONFIGURE", configure(r, seeds=seed(0, 1000, 1) + seed(1, 77, LANES)))
    levels = [(3 * i + j) % 4 for i in range(rows) for j in range(cols)]
    client.ask("PROGRAM_BLOCK", REGION.pack(0, rows, cols) + bytes(levels))
    z = samples(SEED, 0, 1000, rows * cols)
    codes = [noisy(*STATES[level], one) for level, one in zip(levels, z, strict=True)]
    words = struct.unpack(f"<{rows * cols}H", client.ask("READ", REGION.pack(0, rows, cols)))
    assert [(word & 1023, word >> 10) for word in words] == list(zip(codes, levels, strict=True))
    # Read noise: a sample for each lane of each word, column block by column block, row by row.
    x, sums = [3, 0, 255, 1, 0, 77], [0] * cols
    z = iter(samples(SEED, 1, 77, 2 * rows * LANES))
    for block in range(2):
        for row in range(rows):
            for col in range(LANES * block, LANES * block + LANES):
                one = next(z)
                if col < cols:
                    sums[col] += x[row] * (noisy(codes[row * cols + col], r, one) - 512)
    results = client.ask("FORWARD8", REGION.pack(0, rows, cols) + struct.pack("<H", 1) + bytes(x))
    assert [int.from_bytes(results[k : k + 3], "little", signed=True) for k in range(0, 21, 3)] == sums


def test_settings_up_to_their_limits_and_beyond(board):
    client = Client(board)
    for _, size, name, values, _ in SETTINGS:
        *zero, span = values.split(", ")
        least, most = map(int, span.split(".."))
        for value in {least, most, *map(int, zero)}:
            client.ask("CONFIGURE", configure(**{name: value}))
        for value in {most + 1, least - 1} - {*map(int, zero), -1, 256 ** int(size)}:
            client.ask("CONFIGURE", configure(**{name: value}), "SETTING")
    client.ask("CONFIGURE", configure(table=[(0, 0), (0, 1 << 12)]), "SETTING")
    client.ask("CONFIGURE", configure(table=[(1023, 4095)] * 64))
    for table in ([(0, 0)], [(0, 0)] * 65):
        client.ask("CONFIGURE", configure(table=table), "LENGTH")
    client.ask("CONFIGURE", configure() + b"\0", "LENGTH")


def test_lengths_up_to_their_limits_and_beyond(board):
    most = {what: number.split(":")[0] for what, number in rows_below(LINK, "what", "at most")}
    cells = whole(most["words of cells that a READ or READ_... reads"].replace(",", ""))
    products = whole(most["products of a request, vectors times results of each"].replace(",", ""))
    assert (cells, products) == (217 * 151, 127 * 129)
    client = Client(board)
    client.ask("CONFIGURE", configure())
    client.ask("LOAD", REGION.pack(0, 364, 90) + bytes(2 * 364 * 90))
    client.ask("LOAD", REGION.pack(0, 128, 4) + bytes(2 * 128 * 4))
    assert len(client.ask("READ", REGION.pack(0, 217, 151))) == 2 * cells
    client.ask("READ", REGION.pack(0, 128, 256), "LENGTH")
    one = REGION.pack(0, 1, 129)
    assert len(client.ask("FORWARD1", one + struct.pack("<H", 127) + bytes(127))) == 3 * products
    client.ask("FORWARD1", REGION.pack(0, 1, 128) + struct.pack("<H", 128) + bytes(128), "LENGTH")
    assert client.ask("FORWARD1", one + bytes(2)) == b""
