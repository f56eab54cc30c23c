// Returns what a doubler has after one clock.

using namespace qcloop;

QCLOOP_API unsigned doubled(unsigned value) {
    Design design;
    design.p_x.set(value);
    settle(design);
    advance(design);
    settle(design);
    return get(design.p_y);
}
