// Records a window of a design's waveform and keeps it in memory until it is fetched. It stands behind the prelude
// of a design that is compiled with the names of its signals.

#include <cxxrtl/cxxrtl_vcd.h>

namespace {

using Named = cxxrtl_design::p_named;

// The same as _Window in board.py, and the values of Recording there.
enum : std::uint32_t { WAITING, RECORDING, DONE };

struct Window {
    // The clock at which it begins, counted from the first of the reset; how many it has, 0 for all that follow.
    std::uint64_t first, clocks;
    // If `number` is not 0, it begins at that number of requests with this opcode which come from `first` on.
    std::uint32_t operation, number;
    // How far it is, and the clocks up to now: all of the board, and those recorded.
    std::uint32_t state, requests;
    std::uint64_t time, recorded;
};

class Waveform {
public:
    explicit Waveform(Named &design) {
        design.debug_info(&items, nullptr, "");
        writer.timescale(1, "ns");
        // The first signal has the code "!". The design itself sees rising edges only, so `clk` is always high there.
        for (auto &part : items.table.at("clk"))
            writer.add("clk", part);
        writer.add(items, [](const std::string &name, const cxxrtl::debug_item &item) {
            return item.type != cxxrtl::debug_item::MEMORY && name != "clk";
        });
        state = find("engine requests fsm_state");
        operation = find("engine requests request__operation");
        status = find("engine requests request__status");
    }

    // Whether the signals are there that tell when a request comes.
    bool sees_requests() const { return state && operation && status; }

    // Pass a clock whose values are settled: those of the registers before its end, and what follows from them.
    void pass(Window &window) {
        if (window.state == WAITING && begins(window))
            window.state = RECORDING;
        if (window.state == RECORDING) {
            sample(window.time);
            if (++window.recorded == window.clocks)
                window.state = DONE;
        }
        window.time++;
    }

    const char *take(std::uint64_t *length) {
        fetched.swap(writer.buffer);
        writer.buffer.clear();
        *length = fetched.size();
        return fetched.data();
    }

private:
    // The state of the decoder in which opcode and length of a request have come. It lasts one clock.
    static constexpr std::uint32_t DISPATCH = 3;

    bool begins(Window &window) const {
        if (window.time < window.first)
            return false;
        if (!window.number)
            return true;
        bool comes = *state == DISPATCH && *status == 0 && *operation == window.operation;
        return comes && ++window.requests == window.number;
    }

    // A clock is written as ten nanoseconds, whatever the clock of a board is.
    void sample(std::uint64_t time) {
        writer.sample(10 * time);
        writer.buffer += "1!\n#" + std::to_string(10 * time + 5) + "\n0!\n";
    }

    // The value of a register, by the end of its path: a board has others around it.
    const std::uint32_t *find(const std::string &path) const {
        for (auto &item : items.table) {
            const std::string &name = item.first;
            if (name.size() >= path.size() && !name.compare(name.size() - path.size(), path.size(), path))
                return item.second.front().curr;
        }
        return nullptr;
    }

    cxxrtl::debug_items items;
    cxxrtl::vcd_writer writer;
    std::string fetched;
    const std::uint32_t *state = nullptr, *operation = nullptr, *status = nullptr;
};

} // namespace
