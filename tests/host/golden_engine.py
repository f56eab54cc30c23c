"""An engine that executes operations, byte for byte, on the golden model: the board's end of a link.

It takes only good requests. Each is decoded here from the layouts of the contract, and not by the functions
that made it.
"""

import zlib
from collections import deque
from dataclasses import replace
from itertools import pairwise

import numpy as np

from qcloop.array import GoldenArray, Region
from qcloop.contract import operations
from qcloop.contract.formats import CELL, MAX_STATES
from qcloop.contract.frames import Identity
from qcloop.contract.images import IMAGE_SET, RESIDUE, ImageSetInfo
from qcloop.contract.operations import (
    COUNT,
    HEADER,
    LAYER,
    MAX_IMAGES,
    MAX_LENGTH,
    PLAN,
    PLAN_BYTES,
    PLAN_FLAGS,
    REGION,
    Info,
    Operation,
    Status,
)
from qcloop.contract.order import ImageOrder
from qcloop.contract.plan import PlanLayer, StepRule, TrainingPlan
from qcloop.contract.stored import EVALUATE, HITS, READ_LINES, TRAIN_IMAGES, ImageOperation
from qcloop.contract.types import cell_words
from qcloop.link.stream import LinkCounts


class GoldenEngine:
    """What :class:`qcloop.link.remote.RemoteArray` knows as its link.

    Parameters
    ----------
    config : ArrayConfig
    monkeypatch : MonkeyPatch
        The position of a generator cannot be read from its seed, so requests of CONFIGURE are recorded.
    """

    name = "golden"

    def __init__(self, config, monkeypatch, buffer=1024):
        self.identity = Identity(Info(config, buffer), 1, 4092, 4096)
        self.configured = {}
        self.counts = LinkCounts()
        make = operations.configure_request

        def recorded(settings, positions, lanes):
            request = make(settings, positions, lanes)
            self.configured[request[HEADER.size :]] = settings, positions
            return request

        monkeypatch.setattr(operations, "configure_request", recorded)
        self.open()

    def open(self):
        self.array = GoldenArray(self.identity.info.array)
        self.answers = b""
        #: Operations that came, and what the step has counted.
        self.came, self.hits, self.penalty = [], 0, 0
        self.layers, self.head, self.plan, self.waiting = [], None, None, deque()

    def close(self):
        pass

    def send(self, data):
        while data:
            opcode, length = HEADER.unpack(data)
            operands, data = data[HEADER.size : HEADER.size + length], data[HEADER.size + length :]
            assert len(operands) == length <= MAX_LENGTH
            self.came.append((ImageOperation if opcode in set(ImageOperation) else Operation)(opcode))
            results = getattr(self, f"do_{self.came[-1].name.lower()}")(operands) or b""
            assert len(results) <= MAX_LENGTH
            self.answers += HEADER.pack(Status.OK, len(results)) + results

    def receive(self, count):
        assert len(self.answers) >= count
        data, self.answers = self.answers[:count], self.answers[count:]
        return data

    # -- images of its own ------------------------------------------------------------------------

    #: Contents of the flash memory, and its set of images when it was found whole.
    flash, whole = b"", None

    def hold(self):
        pass

    sent = 0

    def do_images(self, operands):
        return b"\xef\x40\x18" + self.flash[: IMAGE_SET.size].ljust(IMAGE_SET.size, b"\xff")

    def do_check_images(self, operands):
        assert zlib.crc32(self.flash) == RESIDUE
        info = ImageSetInfo.decode(self.flash)
        records = np.frombuffer(self.flash[IMAGE_SET.size : -4], np.uint8).reshape(-1, 1 + info.size)
        self.whole = records[: info.train], records[info.train :]
        return READ_LINES.pack(2)

    def do_train_images(self, operands):
        size, key, among, first, count = TRAIN_IMAGES.unpack(operands)
        records = self.whole[0][ImageOrder(among, key).take(first, count), : 1 + size]
        self.do_train(COUNT.pack(count) + records.tobytes())
        self.do_train(COUNT.pack(0))

    def do_evaluate(self, operands):
        size, first, count = EVALUATE.unpack(operands)
        records = self.whole[1][first : first + count]
        classes = self.do_classify(COUNT.pack(count) + records[:, 1 : 1 + size].tobytes())
        return HITS.pack(int((records[:, 0] == np.frombuffer(classes, np.uint8)).sum()))

    def do_summary(self, operands):
        counters = self.do_counters(b"")
        counts = [int.from_bytes(counters[k : k + 6], "little") for k in range(0, len(counters), 6)]
        return sum(counts[:MAX_STATES]).to_bytes(6, "little") + counters[6 * MAX_STATES :]

    def do_checksum(self, operands):
        assert operands[0] == Operation.READ
        return zlib.crc32(self.do_read(operands[1:])).to_bytes(4, "little")

    def do_note(self, operands):
        return operands

    # -- cells ----------------------------------------------------------------------------------

    def do_configure(self, operands):
        settings, positions = self.configured[operands]
        self.array.configure(settings, positions)
        self.start, self.hits, self.penalty, self.aged, self.plan = positions, 0, 0, 0, None

    def do_program(self, operands):
        region, body = region_of(operands)
        listed = np.frombuffer(body, "<u2")
        offset, lanes = operations.LISTED_CELL.extract("offset", listed).astype(int), self.array.config.lanes
        stride = self.array.config.row_words(region.cols) * lanes
        levels = operations.LISTED_CELL.extract("level", listed).astype(np.uint8)
        self.array.program(region, offset // stride * region.cols + offset % stride, levels)

    def do_program_block(self, operands):
        self.array.program_block(*cells_of(operands, np.uint8))

    def do_load(self, operands):
        region, words = cells_of(operands, "<u2")
        levels, codes = CELL.extract("level", words), CELL.extract("code", words)
        self.array.load(region, levels.astype(np.uint8), codes.astype(np.int16))

    def do_read(self, operands):
        return cell_words(*self.array.read(only_region_of(operands))).tobytes()

    def do_forward1(self, operands):
        region, body = region_of(operands)
        packed = np.frombuffer(body[COUNT.size :], np.uint8).reshape(-1, -(-region.rows // 8))
        x = np.unpackbits(packed, axis=1, bitorder="little", count=region.rows)
        return self._products(Operation.FORWARD1, region, self.array.forward(region, x, 1))

    def do_forward8(self, operands):
        region, body = region_of(operands)
        x = np.frombuffer(body[COUNT.size :], np.uint8).reshape(-1, region.rows)
        return self._products(Operation.FORWARD8, region, self.array.forward(region, x, 8))

    def do_backward(self, operands):
        region, body = region_of(operands)
        d = np.frombuffer(body[COUNT.size :], np.int8).reshape(-1, region.cols)
        return self._products(Operation.BACKWARD, region, self.array.backward(region, d))

    def _products(self, operation, region, products):
        size = operations.product_bytes(operation, region)
        return np.ascontiguousarray(products.astype("<i4")).view(np.uint8).reshape(-1, 4)[:, :size].tobytes()

    def do_counters(self, operands):
        assert not operands and not self.waiting, "images are still waiting for the rest of their batch"
        counters = self.array.counters()
        attempts = sum(counters.attempts)
        counts = [
            *counters.attempts,
            counters.set_pulses,
            counters.reset_pulses,
            counters.clipped,
            attempts - counters.programmed,
            counters.unverified,
            counters.cycles,
            counters.saturated,
            self.hits,
            self.penalty,
            self.array.positions().programming - self.start.programming - attempts - 2 * self.aged,
            self.aged,
        ]
        return b"".join(count.to_bytes(6, "little") for count in counts)

    # -- devices that differ, relax and wear out ------------------------------------------------

    def do_age(self, operands):
        region, body = region_of(operands)
        table = np.frombuffer(body, "<i2").reshape(MAX_STATES, 2)
        states = self.array.settings.states
        assert not table[states:].any()
        self.array.age(region, table[:states, 0].copy(), table[:states, 1].astype(np.uint16))
        self.aged += region.rows * region.cols

    def do_load_variation(self, operands):
        region, words = cells_of(operands, "<u2")
        gains, offsets = (half.astype(np.uint8).view(np.int8) for half in (words & 0xFF, words >> 8))
        self.array.load_variation(region, gains, offsets)

    def do_read_variation(self, operands):
        return np.stack(self.array.read_variation(only_region_of(operands)), axis=-1).tobytes()

    def do_load_endurance(self, operands):
        region, left = cells_of(operands, "<u2")
        self.array.load_endurance(region, left.astype(np.uint16))

    def do_read_endurance(self, operands):
        return self.array.read_endurance(only_region_of(operands)).astype("<u2").tobytes()

    # -- the training step ----------------------------------------------------------------------

    def do_plan(self, operands):
        assert len(operands) == PLAN_BYTES == 644
        self.head, self.layers, self.plan = operands, [], None

    def do_layer(self, operands):
        region, body = region_of(operands)
        shift, rate, exponent = LAYER.unpack(body)
        tables = np.frombuffer(body[LAYER.size :], np.uint8).reshape(-1, 2)
        assert len(tables) in (0, 256)
        signed = exponent - 256 if exponent > 127 else exponent
        self.layers.append(
            PlanLayer(region, shift, rate, signed, tables[:, 0].tobytes(), tables[:, 1].tobytes())
        )
        count, flags, batch = PLAN.unpack(self.head)
        if len(self.layers) == count:
            self.plan = self._plan(flags, batch)
            self.array.load_plan(self.plan)

    def _plan(self, flags, batch):
        tables = np.frombuffer(self.head[PLAN.size :], "<u2").astype(int)
        gaps, exponential = tables[:MAX_STATES], tables[MAX_STATES:]
        mean = self.array.settings.mean
        codes = [above - below for below, above in pairwise(mean)]
        fraction_bits = int(gaps[0] // codes[0]).bit_length() - 1
        rule = StepRule(PLAN_FLAGS.extract("rule", flags))
        smallest = min(codes) << fraction_bits
        reach = int(gaps[-1])
        assert reach >= smallest // 2 if rule is StepRule.MIXED else reach == 0
        assert gaps.tolist() == [
            *(gap << fraction_bits for gap in codes),
            *[0] * (MAX_STATES - 1 - len(codes)),
            reach,
        ]
        return TrainingPlan(
            tuple(self.layers),
            tuple(exponential.tolist()),
            input_bits=8 if PLAN_FLAGS.extract("bytes", flags) else 1,
            devices=1 + PLAN_FLAGS.extract("pairs", flags),
            biases=bool(PLAN_FLAGS.extract("biases", flags)),
            rule=rule,
            batch=batch,
            fraction_bits=fraction_bits,
            threshold=reach if reach > smallest // 2 else 0,
        )

    def do_rates(self, operands):
        assert len(operands) == 16
        pairs = [operands[k : k + 2] for k in range(0, 16, 2)]
        layers = [
            replace(layer, rate=rate, exponent=exponent - 256 if exponent > 127 else exponent)
            for layer, (rate, exponent) in zip(self.plan.layers, pairs, strict=False)
        ]
        self.plan = replace(self.plan, layers=tuple(layers))
        self.array.change_rates(self.plan)

    def do_train(self, operands):
        """Train whole batches; the last images wait for more, or for a request of none."""
        images, labels = self._images(operands, labelled=1)
        self.waiting.extend(zip(images, labels, strict=True))
        whole = len(self.waiting) // self.plan.batch * self.plan.batch
        some = [self.waiting.popleft() for _ in range(whole if len(images) else len(self.waiting))]
        if some:
            x, labels = (np.array(values, np.uint8) for values in zip(*some, strict=True))
            result = self.array.train(x, labels)
            self.hits, self.penalty = self.hits + result.hits, self.penalty + result.penalty

    def do_classify(self, operands):
        return self.array.classify(self._images(operands, labelled=0)[0]).tobytes()

    def _images(self, operands, labelled):
        """Return images without the input of their biases, and the labels."""
        plan, rows = self.plan, self.plan.layers[0].region.rows
        (count,) = COUNT.unpack(operands)
        assert count <= MAX_IMAGES
        size = labelled + (-(-rows // 8) if plan.input_bits == 1 else rows)
        table = np.frombuffer(operands[COUNT.size :], np.uint8).reshape(count, size)
        x = table[:, labelled:]
        if plan.input_bits == 1:
            x = np.unpackbits(x, axis=1, bitorder="little")[:, :rows]
        if plan.biases:
            assert (x[:, -1] == (255 if plan.input_bits == 8 else 1)).all()
        return x[:, : plan.inputs], table[:, :labelled].reshape(-1)

    def do_load_accumulators(self, operands):
        region, values = cells_of(operands, "<i2")
        self.array.load_accumulators(region, values.astype(np.int16))

    def do_read_accumulators(self, operands):
        return self.array.read_accumulators(only_region_of(operands)).astype("<i2").tobytes()


def region_of(operands):
    """Return the region that operands begin with, and what follows."""
    return Region(*REGION.unpack(operands)), operands[REGION.size :]


def only_region_of(operands):
    region, body = region_of(operands)
    assert not body
    return region


def cells_of(operands, kind):
    """Return the region that operands begin with, and the number for each of its cells."""
    region, body = region_of(operands)
    return region, np.frombuffer(body, kind).reshape(region.rows, region.cols)
