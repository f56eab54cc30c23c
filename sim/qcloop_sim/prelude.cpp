// What every driver finds before its own text, behind the design: how a clock of the design passes.

#include <cstddef>
#include <cstdint>

#define QCLOOP_API extern "C" __attribute__((visibility("default")))

namespace qcloop {

using Design = cxxrtl_design::p_top;

// Ports that flip-flops drive are wires, all others values.
template<std::size_t Bits>
const cxxrtl::value<Bits> &see(const cxxrtl::value<Bits> &port) { return port; }
template<std::size_t Bits>
const cxxrtl::value<Bits> &see(const cxxrtl::wire<Bits> &port) { return port.curr; }

// Value of a port of 32 bits or less.
template<class Port>
std::uint32_t get(const Port &port) { return see(port).template get<std::uint32_t>(); }

// A clock is two calls: after `settle` the outputs are those of the inputs, after `advance` the registers
// have their next values. One evaluation does both, because the designs settle in one pass (build() refuses
// others) and nothing depends on a falling edge.
inline void settle(Design &design) {
    design.p_clk.set(true);
    design.prev_p_clk.set(false);
    design.eval();
}

inline void advance(Design &design) { design.commit(); }

} // namespace qcloop
