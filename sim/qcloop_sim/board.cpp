// A board's clock and its line: bytes in, bytes out, until nothing is left to do. With UART_CLOCKS defined
// the line is asynchronous, a bit of so many clocks; without, bytes come and go as fast as the board takes them.

namespace {

using namespace qcloop;

// _Run in board.py.
struct Run {
    const std::uint8_t *in;
    std::uint64_t in_length;
    std::uint8_t *out;
    std::uint64_t out_room;
    // Bytes that have moved, clocks, and clocks with a byte on the line, since the board was made.
    std::uint64_t taken, came, clocks, busy;
};

#ifdef UART_CLOCKS

// One bit time after the other, as the UART of a host makes and reads them.
class Line {
public:
    bool quiet() const { return !sending && !receiving; }

    void before(Design &design, const Run &run, std::uint64_t taken) {
        if (!sending && taken < run.in_length) {
            shift = 0x200u | unsigned(run.in[taken]) << 1;
            sending = 10 * UART_CLOCKS;
        }
        unsigned bit = (10 * UART_CLOCKS - sending) / UART_CLOCKS;
        design.p_rx.set(sending ? bool(shift >> bit & 1) : true);
    }

    // Return whether a byte of the host has left; `came` and `byte` tell of one from the board.
    bool after(Design &design, bool &came, std::uint8_t &byte) {
        bool high = get(design.p_tx);
        came = false;
        if (!receiving && !high) {
            receiving = 10 * UART_CLOCKS;
            gathered = 0;
        }
        if (receiving) {
            unsigned elapsed = 10 * UART_CLOCKS - receiving;
            if (elapsed % UART_CLOCKS == UART_CLOCKS / 2)
                gathered |= unsigned(high) << elapsed / UART_CLOCKS;
            if (!--receiving) {
                came = gathered >> 9 & 1;
                byte = gathered >> 1 & 0xff;
            }
        }
        return sending && !--sending;
    }

    static bool full(const Run &run, std::uint64_t came) { return run.out_room - came < 2; }

private:
    unsigned sending = 0, shift = 0, receiving = 0, gathered = 0;
};

#else

class Line {
public:
    bool quiet() const { return !offered; }

    void before(Design &design, const Run &run, std::uint64_t taken) {
        offered = taken < run.in_length;
        design.p_rx__valid.set(offered);
        if (offered)
            design.p_rx__byte.set(run.in[taken]);
        design.p_tx____ready.set(true);
    }

    bool after(Design &design, bool &came, std::uint8_t &byte) {
        came = get(design.p_tx____valid);
        byte = get(design.p_tx____payload);
        return offered;
    }

    static bool full(const Run &run, std::uint64_t came) { return came == run.out_room; }

private:
    bool offered = false;
};

#endif

struct Board {
    Design design;
    Line line;
#ifdef QCLOOP_VCD
    Waveform waveform{design};
#endif
};

void clock(Board &board) {
    advance(board.design);
#ifdef QCLOOP_VCD
    board.waveform.sample();
#endif
}

} // namespace

QCLOOP_API Board *board_make() { return new Board; }

QCLOOP_API void board_free(Board *board) { delete board; }

QCLOOP_API void board_reset(Board *board, std::uint64_t clocks) {
    board->design.p_rst.set(true);
    for (; clocks; clocks--) {
        settle(board->design);
        clock(*board);
    }
    board->design.p_rst.set(false);
}

// Run until the board is idle and all input is taken (1), the output is full (2), or `most` clocks are over (0).
QCLOOP_API std::uint8_t board_run(Board *board, Run *run, std::uint64_t most) {
    Design &design = board->design;
    Run &r = *run;
    std::uint64_t taken = 0, came = 0;
    std::uint8_t state = 0;
    for (; most; most--) {
        if (Line::full(r, came)) {
            state = 2;
            break;
        }
        board->line.before(design, r, taken);
        settle(design);
        if (taken == r.in_length && board->line.quiet() && get(design.p_idle)) {
            state = 1;
            break;
        }
        bool byte_came;
        std::uint8_t byte;
        r.busy += !board->line.quiet();
        taken += board->line.after(design, byte_came, byte);
        if (byte_came)
            r.out[came++] = byte;
        clock(*board);
        r.clocks++;
    }
    r.taken += taken;
    r.came += came;
    r.in += taken;
    r.in_length -= taken;
    r.out += came;
    r.out_room -= came;
    return state;
}
#ifdef QCLOOP_VCD

// The waveform so far, to be freed by the next call.
QCLOOP_API const char *board_waveform(Board *board, std::uint64_t *length) {
    return board->waveform.take(length);
}
#endif
