// Lets the clocks of an engine pass and moves the bytes of its two streams. It does not know what they mean.

namespace {

using namespace qcloop;

// Clocks in which a stream pauses, pseudo-random (xorshift64*) and the same on every machine.
class Pauses {
public:
    // A seed of zero means no pauses. How often they come is drawn from the seed as well.
    explicit Pauses(std::uint64_t seed) : state(seed) {
        static const std::uint8_t rates[] = {20, 80, 130, 230};
        of_256 = rates[next() & 3];
    }

    bool operator()() { return state && next() < of_256; }

private:
    std::uint8_t next() {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return (state * 0x2545F4914F6CDD1Du) >> 56;
    }

    std::uint64_t state;
    std::uint8_t of_256;
};

struct Engine {
    Design design;
    // Whether a byte of the request is offered. It is offered until it is taken.
    bool offered = false;
};

// The same as _Transfer in engine.py.
struct Transfer {
    const std::uint8_t *request;
    std::uint64_t length;
    std::uint8_t *answer;
    // Bytes of the request that were taken, and bytes of the answer that have come.
    std::uint64_t taken, came;
    // Clocks of the engine since it was made, and the clocks at which a byte was taken and came last.
    std::uint64_t clocks, last_taken, last_came;
};

} // namespace

QCLOOP_API Engine *engine_make() { return new Engine; }

QCLOOP_API void engine_free(Engine *engine) { delete engine; }

// Let clocks pass in which no byte moves, with the reset high or low. A reset withdraws the byte on offer.
QCLOOP_API void engine_run(Engine *engine, std::uint64_t clocks, std::uint8_t reset) {
    Design &design = engine->design;
    engine->offered = engine->offered && !reset;
    design.p_rst.set<std::uint8_t>(reset);
    design.p_rx____valid.set(false);
    design.p_tx____ready.set(false);
    for (; clocks; clocks--) {
        settle(design);
        advance(design);
    }
    design.p_rst.set(false);
}

// Move bytes until `wanted` bytes of the answer have come and, if `whole`, the request is taken to its end. Return
// 0 then, 1 if no byte has moved for `patience` clocks, and 2 if more bytes come than are wanted.
QCLOOP_API std::uint8_t engine_move(Engine *engine, Transfer *transfer, std::uint64_t wanted,
                                    std::uint8_t whole, std::uint64_t patience, std::uint64_t seed) {
    Design &design = engine->design;
    Transfer &t = *transfer;
    Pauses before_offer(seed), before_ready(~seed & -std::uint64_t(seed != 0));
    std::uint64_t idle = 0;
    while (t.came < wanted || (whole && t.taken < t.length)) {
        if (idle++ == patience)
            return 1;
        if (!engine->offered && t.taken < t.length && !before_offer()) {
            engine->offered = true;
            design.p_rx____payload.set(t.request[t.taken]);
        }
        bool ready = !before_ready();
        design.p_rx____valid.set(engine->offered);
        design.p_tx____ready.set(ready);
        settle(design);
        bool taken = engine->offered && get(design.p_rx____ready);
        bool came = ready && get(design.p_tx____valid);
        std::uint8_t byte = get(design.p_tx____payload);
        advance(design);
        t.clocks++;
        if (taken) {
            t.taken++;
            engine->offered = false;
            t.last_taken = t.clocks;
            idle = 0;
        }
        if (came) {
            if (t.came == wanted)
                return 2;
            t.answer[t.came++] = byte;
            t.last_came = t.clocks;
            idle = 0;
        }
    }
    return 0;
}
