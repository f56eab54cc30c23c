// A condition that is seldom true: what depends on it is put where it is not in the way.
CXXRTL_ALWAYS_INLINE bool seldom(bool condition) { return __builtin_expect(condition, 0); }
// A value of 33 to 64 bits as an integer, and an integer as such a value.
template<size_t Bits>
CXXRTL_ALWAYS_INLINE uint64_t wide(const cxxrtl::value<Bits> &x) {
    return uint64_t(x.data[1]) << 32 | x.data[0];
}
template<size_t Bits>
CXXRTL_ALWAYS_INLINE cxxrtl::value<Bits> wide_value(uint64_t x) {
    return cxxrtl::value<Bits>{uint32_t(x), uint32_t(x >> 32)};
}
// 64 bits of a value of more than 32 from a bit on, with zeros above its highest bit.
template<size_t Bits>
CXXRTL_ALWAYS_INLINE uint64_t window(const cxxrtl::value<Bits> &x, uint64_t low) {
    const uint64_t first = low / 32, shift = low % 32;
    uint64_t words[3] = {};
    for (size_t k = 0; k < 3 && first + k < x.chunks; k++)
        words[k] = x.data[first + k];
    const uint64_t lower = words[1] << 32 | words[0];
    return shift ? lower >> shift | words[2] << (64 - shift) : lower;
}
// Whether two values differ, without a branch for each of their words.
template<size_t Bits>
CXXRTL_ALWAYS_INLINE bool differ(const cxxrtl::value<Bits> &x, const cxxrtl::value<Bits> &y) {
    uint32_t difference = 0;
    for (size_t k = 0; k < x.chunks; k++)
        difference |= x.data[k] ^ y.data[k];
    return difference != 0;
}
// A write to a memory that waits for the end of the clock.
template<size_t Bits>
struct later_write {
    bool waits = false;
    size_t at;
    cxxrtl::value<Bits> x, mask;
    // Writes, and returns whether that has changed anything. It is not inlined: it would fill the cache.
    __attribute__((noinline)) bool put(cxxrtl::value<Bits> &word) {
        waits = false;
        uint32_t difference = 0;
        for (size_t k = 0; k < x.chunks; k++) {
            const uint32_t changed = (word.data[k] ^ x.data[k]) & mask.data[k];
            word.data[k] ^= changed;
            difference |= changed;
        }
        return difference != 0;
    }
};
template<size_t Bits>
__attribute__((noinline))
void put_off(later_write<Bits> &later, size_t at, const cxxrtl::value<Bits> &x,
             const cxxrtl::value<Bits> &mask) {
    later.waits = true;
    later.at = at;
    later.x = x;
    later.mask = mask;
}
// The same where each bit of `on` enables so many bits of the memory's word.
template<size_t Width, size_t Bits>
__attribute__((noinline))
void put_off(later_write<Bits> &later, size_t at, const cxxrtl::value<Bits> &x, uint32_t on) {
    later.waits = true;
    later.at = at;
    later.x = x;
    const bool all = on == uint32_t(-1) >> (32 - Bits / Width);
    for (size_t k = 0; k < x.chunks; k++)
        later.mask.data[k] = all ? ~0u : 0;
    for (; !all && on; on &= on - 1) {
        const size_t low = __builtin_ctz(on) * Width;
        for (size_t k = low / 32; k * 32 < low + Width; k++) {
            const size_t first = low > k * 32 ? low - k * 32 : 0, end = low + Width - k * 32;
            later.mask.data[k] |= (~0u << first) & (end < 32 ? ~(~0u << end) : ~0u);
        }
    }
}
