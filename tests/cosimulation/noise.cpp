// Seeds a generator and stores what it offers, a vector a clock.

using namespace qcloop;

namespace {

constexpr unsigned Z_BITS = 9;

template<class Port>
std::int16_t sample(const Port &port, unsigned lane) {
    unsigned first = lane * Z_BITS;
    const std::uint32_t *chunks = see(port).data;
    std::uint64_t bits = chunks[first / 32];
    if (first % 32 + Z_BITS > 32)
        bits |= std::uint64_t(chunks[first / 32 + 1]) << 32;
    std::uint32_t z = (bits >> first % 32) & ((1u << Z_BITS) - 1);
    return z & 1u << (Z_BITS - 1) ? int(z) - (1 << Z_BITS) : int(z);
}

} // namespace

QCLOOP_API void noise(const std::uint8_t *seed, std::uint64_t seed_bytes, std::uint64_t vectors,
                      unsigned lanes, std::int16_t *z) {
    Design design;
    design.p_restart.set(true);
    settle(design);
    advance(design);
    design.p_restart.set(false);
    design.p_seed____valid.set(true);
    for (std::uint64_t i = 0; i < seed_bytes; i++) {
        design.p_seed____payload.set(seed[i]);
        settle(design);
        advance(design);
    }
    design.p_seed____valid.set(false);
    design.p_z____ready.set(true);
    while (vectors) {
        settle(design);
        if (get(design.p_z____valid)) {
            for (unsigned lane = 0; lane < lanes; lane++)
                *z++ = sample(design.p_z____payload, lane);
            vectors--;
        }
        advance(design);
    }
}
