// Records the waveform of a design and keeps it in memory until it is fetched. It stands behind the prelude of a
// design that is compiled with waveforms.

#include <cxxrtl/cxxrtl_vcd.h>

namespace {

class Waveform {
public:
    explicit Waveform(qcloop::Design &design) {
        design.debug_info(&items, nullptr, "");
        writer.timescale(1, "ns");
        writer.add_without_memories(items);
    }

    // Add the present values. A clock is written as ten nanoseconds, whatever the clock of a board is.
    void sample() { writer.sample(time), time += 10; }

    const char *take(std::uint64_t *length) {
        fetched.swap(writer.buffer);
        writer.buffer.clear();
        *length = fetched.size();
        return fetched.data();
    }

private:
    cxxrtl::debug_items items;
    cxxrtl::vcd_writer writer;
    std::string fetched;
    std::uint64_t time = 0;
};

} // namespace
