// Stands between a design and its driver, and lets a clock of the design pass.

#include <cstddef>
#include <cstdint>

#define QCLOOP_API extern "C" __attribute__((visibility("default")))

namespace qcloop {

using Design = cxxrtl_design::p_top;

// CXXRTL makes a port that flip-flops drive a `wire`, every other one a `value`.
template<std::size_t Bits>
const cxxrtl::value<Bits> &see(const cxxrtl::value<Bits> &port) { return port; }
template<std::size_t Bits>
const cxxrtl::value<Bits> &see(const cxxrtl::wire<Bits> &port) { return port.curr; }

// Value of a port of 32 bits or less.
template<class Port>
std::uint32_t get(const Port &port) { return see(port).template get<std::uint32_t>(); }

// A clock is two calls. After `settle` the outputs are those that belong to the inputs; after `advance` the
// registers have their next values. One evaluation, that of a rising edge, serves both, because the designs
// settle in one pass (build() refuses others) and nothing in them depends on a falling edge.
inline void settle(Design &design) {
    design.p_clk.set(true);
    design.prev_p_clk.set(false);
    design.eval();
}

inline void advance(Design &design) { design.commit(); }

} // namespace qcloop
