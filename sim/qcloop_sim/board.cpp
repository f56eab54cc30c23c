// Lets the clocks of a board pass and moves the bytes of its line, until nothing is left to do. With UART_CLOCKS
// defined the line is that of a UART, each bit so many clocks long. Without, the board is offered a byte a clock,
// and a byte that it sends is taken at once.

namespace {

using namespace qcloop;

// The same as _Run in board.py.
struct Run {
    // Bytes for the board, and where to put those that it sends.
    const std::uint8_t *in;
    std::uint64_t in_length;
    std::uint8_t *out;
    std::uint64_t out_room;
    // Counts since the board was made: bytes that it took and sent, clocks, and clocks with a byte on the line.
    std::uint64_t taken, came, clocks, busy;
    // Contents of the flash memory, and how many there are.
    const std::uint8_t *flash;
    std::uint64_t flash_length;
};

#ifdef UART_CLOCKS

// The UART at the host's end of the line: sends to the board, and samples what comes in the middle of each bit.
// A byte is a start bit (low), 8 bits with the lowest first, and a stop bit (high).
class Line {
public:
    // Return whether no byte is under way in either direction.
    bool quiet() const { return !sending && !receiving; }

    // Drive the line in the coming clock.
    void before(Design &design, const Run &run, std::uint64_t taken) {
        if (!sending && taken < run.in_length) {
            shift = 0x200u | unsigned(run.in[taken]) << 1;
            sending = 10 * UART_CLOCKS;
        }
        unsigned bit = (10 * UART_CLOCKS - sending) / UART_CLOCKS;
        design.p_rx.set(sending ? bool(shift >> bit & 1) : true);
    }

    // See what the board has done in this clock: return whether it has been sent a whole byte, and set `came` if
    // `byte` has come from it.
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

    // Return whether a run must end: a byte may be under way when it does, and needs room as well.
    static bool full(const Run &run, std::uint64_t came) { return run.out_room - came < 2; }

private:
    // Clocks that are left of the byte to the board and of the byte from it, and the bits of both.
    unsigned sending = 0, shift = 0, receiving = 0, gathered = 0;
};

#else

// A line as fast as the board, with the same functions: a byte goes in as soon as the board takes it.
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
#ifdef QCLOOP_VCD
    Named design;
    Waveform waveform{design};
    Window *window = nullptr;
#else
    Design design;
#endif
    Line line;
};

// End a clock whose values are settled.
void clock(Board &board) {
#ifdef QCLOOP_VCD
    board.waveform.pass(*board.window);
#endif
    advance(board.design);
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

// Run until the board is idle and has taken all input (return 1), the output is full (2), or `most` clocks have
// passed (0). These are the values of Ended in board.py.
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
#ifdef FLASH
        std::uint64_t address = get(design.p_flash__address);
        design.p_flash__data.set(address < r.flash_length ? r.flash[address] : std::uint8_t(0xff));
#endif
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

// Record this window, which must live as long as the board. Return whether requests can be seen.
QCLOOP_API std::uint8_t board_record(Board *board, Window *window) {
    board->window = window;
    return board->waveform.sees_requests();
}

// Return what was added to the waveform since the last call. The text is valid until the next call.
QCLOOP_API const char *board_waveform(Board *board, std::uint64_t *length) {
    return board->waveform.take(length);
}
#endif
