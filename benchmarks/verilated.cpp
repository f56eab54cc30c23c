// What prelude.cpp is to a design of CXXRTL, for one of Verilator: the ports of a ByteBoard, and how a clock of it
// passes. board.cpp stands behind it.

#include <cstdint>

#include "Vtop.h"
#include "verilated.h"

#define QCLOOP_API extern "C" __attribute__((visibility("default")))

namespace qcloop {

struct Port {
    CData &signal;

    void set(std::uint8_t value) { signal = value; }
};

inline std::uint32_t get(const Port &port) { return port.signal; }

struct Design {
    VerilatedContext context;
    Vtop top{&context};
    Port p_rst{top.rst}, p_idle{top.idle};
    Port p_rx__valid{top.rx_valid}, p_rx__byte{top.rx_byte};
    Port p_tx____valid{top.tx___05Fvalid}, p_tx____ready{top.tx___05Fready}, p_tx____payload{top.tx___05Fpayload};
};

// Verilator needs an evaluation before the rising edge, for the outputs that depend on inputs, and one at it.
inline void settle(Design &design) {
    design.top.clk = 0;
    design.top.eval();
}

inline void advance(Design &design) {
    design.top.clk = 1;
    design.top.eval();
}

} // namespace qcloop
