"""A board together with its flash memory, whose contents come from outside."""

from typing import Any

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from qcloop_hdl.board import ByteBoard, UartBoard
from qcloop_hdl.images.layouts import ADDRESS_BITS
from qcloop_hdl.images.model import FlashModel


class BoardWithFlash(wiring.Component):
    """A board with the part ``IMAGES``, and the model of a flash memory on its pins.

    It has the ports of the board, and instead of the pins the byte that is needed of the memory and its
    address.

    Parameters
    ----------
    board : ByteBoard or UartBoard
    """

    def __init__(self, board: ByteBoard | UartBoard) -> None:
        self._board = board
        ports = {name: member for name, member in board.signature.members.items() if name != "flash"}
        super().__init__(
            {**ports, "flash_address": Out(ADDRESS_BITS), "flash_data": In(8), "flash_fault": Out(3)}
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        m.submodules.board = board = self._board
        m.submodules.memory = memory = FlashModel()
        wiring.connect(m, board.flash, memory.pins)
        for name, member in self.signature.members.items():
            if name.startswith("flash_"):
                continue
            mine, its = getattr(self, name), getattr(board, name)
            if member.is_signature:
                wiring.connect(m, its, wiring.flipped(mine))
            else:
                m.d.comb += its.eq(mine) if member.flow is In else mine.eq(its)
        m.d.comb += [
            self.flash_address.eq(memory.address),
            memory.data.eq(self.flash_data),
            self.flash_fault.eq(memory.fault),
        ]
        return m
