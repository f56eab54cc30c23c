// A routed board on its real pins: an oscillator on the clock's pin, and the host's UART on RX and TX. Time is in
// picoseconds. The line's rate is that of the host, and only the board's PLL decides whether the board has the same.

#include <algorithm>
#include <cstdint>
#include <memory>

#include "Vtop.h"
#include "verilated.h"

// A model that refuses something ends the simulation, not the tests.
void vl_stop(const char *, int, const char *) { Verilated::threadContextp()->gotFinish(true); }
void vl_fatal(const char *, int, const char *, const char *) { Verilated::threadContextp()->gotFinish(true); }

namespace {

constexpr double never = 1e300;
constexpr unsigned idle = 11;

// The same as _Run in routed_board.py.
struct Run {
    // Bytes for the board, and where to put those that it sends.
    const std::uint8_t *in;
    std::uint64_t in_length;
    std::uint8_t *out;
    std::uint64_t out_room;
    // Picoseconds that have passed since the board was switched on, and the fewest from the beginning of a byte of
    // the board to that of the next.
    double time, byte_time;
};

class Board {
public:
    Board(double period, double bit, int seed) : half(period / 2), bit(bit) {
        context.randReset(2);
        context.randSeed(seed);
        design = std::make_unique<Vtop>(&context);
        design->eval();  // which sets pins that the board does not drive to 0
        design->PIN_RX = 1;
    }
    ~Board() { design->final(); }

    // Run until all input has been sent and a byte has come, but none has for `silence`; or until `most` have
    // passed. Return whether no model has refused anything.
    bool run(Run &run, double most, double silence) {
        double end = time + most, quiet = never;
        while (time < end && !context.gotFinish() && run.out_room) {
            if (!run.in_length && sending == idle && time > quiet)
                break;
            step();
            if (sending == idle && run.in_length) {
                shift = 0x200u | unsigned(*run.in++) << 1;
                run.in_length--;
                sending = 0;
                next_sent = time;
            }
            if (came) {
                *run.out++ = byte;
                run.out_room--;
                quiet = time + silence;
                came = false;
            }
        }
        run.time = time;
        run.byte_time = byte_time;
        return !context.gotFinish();
    }

private:
    VerilatedContext context;
    std::unique_ptr<Vtop> design;
    double half, bit, time = 0;
    std::uint64_t edges = 1;
    // The byte to the board: a start bit, 8 bits with the lowest first and a stop bit; the number of the next bit.
    unsigned shift = 0, sending = idle;
    double next_sent = never;
    // The byte from the board, sampled in the middle of each bit.
    unsigned gathered = 0, receiving = 10;
    double next_sample = never;
    double began = -never, byte_time = never;
    bool came = false;
    std::uint8_t byte = 0;

    // Go to the next time at which something happens, and let it.
    void step() {
        double pending = design->eventsPending() ? double(design->nextTimeSlot()) : never;
        time = std::min({half * edges, pending, next_sent, next_sample});
        context.time(std::uint64_t(time));
        if (time >= half * edges)
            design->PIN_CLOCK = edges++ & 1;
        if (time >= next_sent)
            send();
        design->eval();
        receive();
    }

    void send() {
        if (sending < 10)
            design->PIN_RX = shift >> sending & 1, sending++, next_sent += bit;
        else
            sending = idle, next_sent = never;
    }

    void receive() {
        if (receiving == 10 && !design->PIN_TX) {
            receiving = gathered = 0;
            byte_time = std::min(byte_time, time - began);
            began = time;
            next_sample = time + bit / 2;
        }
        if (time >= next_sample) {
            gathered |= unsigned(design->PIN_TX) << receiving++;
            next_sample += bit;
            if (receiving == 10) {
                next_sample = never;
                came = gathered >> 9 & 1 && !(gathered & 1);
                byte = gathered >> 1 & 0xff;
            }
        }
    }
};

} // namespace

extern "C" {
Board *board_make(double period, double bit, int seed) { return new Board(period, bit, seed); }
void board_free(Board *board) { delete board; }
bool board_run(Board *board, Run *run, double most, double silence) { return board->run(*run, most, silence); }
}
