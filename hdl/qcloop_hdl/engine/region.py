"""The region of a request: its location in the memory, and the walk over its cells."""

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from qcloop_hdl.config import Configured, EngineConfig
from qcloop_hdl.engine.decoding import WORD_BITS, above


def _update_ports(config: EngineConfig) -> dict[str, Any]:
    """Return the ports for the update of the microprogrammed learner."""
    return {
        #: Go to the word ``row``.
        "load_row": In(1),
        "row": In(config.address_bits),
        #: Keep the current word in ``kept``, and that one in ``marked``.
        "keep_word": In(1),
        "mark_word": In(1),
        "kept": Out(config.address_bits),
        "marked": Out(config.address_bits),
    }


class RegionWalk(Configured):
    """Holds a region, walks over its cells row by row, and knows which words were programmed.

    The region comes byte by byte (``shift``). Then ``base`` is the word of the current cell and ``lane`` its
    lane, and ``step_cell`` goes to the next cell. Words are programmed one after the other, beginning with
    word 0: a step out of the first word that was never programmed marks that word as programmed.

    ``end`` is the word that is ``ahead`` words behind ``base``; ``past_memory``, ``past_mark`` and ``fresh``
    compare it with the memory and with the first word that was never programmed. With registers around the
    memories (``EngineConfig.registered``) these four are delayed by a clock.

    Reset: no word is programmed, ``base`` is 0.

    Parameters
    ----------
    config : EngineConfig
    """

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(
            config,
            {
                #: A byte of the region comes: base, rows and columns, low bytes first.
                "shift": In(1),
                **(_update_ports(config) if config.runs_microcode else {}),
                "byte": In(8),
                #: Go to the first column.
                "first_cell": In(1),
                #: Go to the next cell; go to the next word.
                "step_cell": In(1),
                #: That step marks no word as programmed.
                "keep_mark": In(1),
                "step_word": In(1),
                #: Rotate ``rows`` left by a bit.
                "rotate_rows": In(1),
                #: Replace the columns by the complement of ``words``. It is the complement because a
                #: comparison with it takes no inverters.
                "keep_words": In(1),
                "words": In(WORD_BITS),
                "ahead": In(WORD_BITS),
                #: The region; ``base`` and ``cols`` change as described above.
                "base": Out(WORD_BITS),
                "rows": Out(WORD_BITS),
                "cols": Out(WORD_BITS),
                #: Column of the current cell, counted from 1, and its lane.
                "col": Out(config.side_bits, init=1),
                "lane": Out(config.lane_bits),
                #: The current cell is the last of its row.
                "row_end": Out(1),
                #: It is the last of its word.
                "word_end": Out(1),
                "end": Out(WORD_BITS + 1),
                #: ``end`` is more than one word behind the memory's last word; it is behind the first word
                #: that was never programmed; it is that word.
                "past_memory": Out(1),
                "past_mark": Out(1),
                "fresh": Out(1),
                #: Number of words at the end of the memory that were never programmed.
                "unprogrammed": Out(range(config.words + 1), init=config.words),
            },
        )

    def elaborate(self, platform: Any) -> Module:
        """Return the circuit."""
        m = Module()
        words, bits = self.config.words, self.config.lane_bits
        word_end, step_word, reach = self.word_end, Signal(), Signal(WORD_BITS + 2)
        m.d.comb += [
            self.lane.eq(self.col - 1),
            self.row_end.eq(self.col == self.cols),
            word_end.eq(self.row_end | ~self.col[:bits].any()),
            step_word.eq(self.step_word | (self.step_cell & word_end)),
            self.end.eq(self.delayed(m, self.base + self.ahead)),
            reach.eq(self.end + self.unprogrammed),
            self.fresh.eq(reach == words),
            self.past_mark.eq(above(reach, words)),
            self.past_memory.eq(above(self.end, words)),
        ]
        with m.If(self.first_cell | self.step_cell):
            m.d.sync += self.col.eq(Mux(self.first_cell | self.row_end, 1, self.col + 1))
        with m.If(self.step_cell & word_end & self.fresh & ~self.keep_mark):
            m.d.sync += self.unprogrammed.eq(self.unprogrammed - 1)
        self._move(m, step_word)
        return m

    def _move(self, m: Module, step_word: Any) -> None:
        """Shift, step and rotate. One condition and one choice for each register take the least logic."""
        region = Cat(self.base, self.rows, self.cols, self.byte)[8:]
        base, rows, cols = (region[start : start + WORD_BITS] for start in (0, WORD_BITS, 2 * WORD_BITS))
        shifts: Any = self.shift
        if self.config.runs_microcode:
            base = Mux(self.shift, base, self.row)
            shifts = shifts | self.load_row
            with m.If(self.keep_word):
                m.d.sync += self.kept.eq(self.base)
            with m.If(self.mark_word):
                m.d.sync += self.marked.eq(self.kept)
        with m.If(shifts | step_word):
            m.d.sync += self.base.eq(Mux(step_word, self.base + 1, base))
        with m.If(self.shift | self.rotate_rows):
            m.d.sync += self.rows.eq(Mux(self.rotate_rows, self.rows.rotate_left(1), rows))
        with m.If(self.shift | self.keep_words):
            m.d.sync += self.cols.eq(Mux(self.keep_words, ~self.words, cols))
