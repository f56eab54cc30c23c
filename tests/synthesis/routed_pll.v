`timescale 1ps / 1ps

// What the PLLs of all families are made of: a clock of UP / DOWN times the frequency of another, made by an
// oscillator that runs at OSCILLATOR times the clock. The frequency of the other clock is measured, not given.
//
// A PLL whose oscillator is outside of its limits, in MHz, does not lock. The limits are those of the family.
module routed_pll #(
    parameter integer UP = 1, DOWN = 1, OSCILLATOR = 1
) (
    input in,
    output reg out = 0,
    output reg locked = 0
);
    localparam MEASURED = 64, UNTIL_LOCK = 128;
    real began, period, half, next, oscillator;
    integer count = 0;

    always @(posedge in) begin
        if (count == 0)
            began = $realtime;
        if (count == MEASURED)
            period = ($realtime - began) / MEASURED;
        if (count < UNTIL_LOCK)
            count = count + 1;
    end

    initial begin
        wait (count > MEASURED);
        half = period * DOWN / UP / 2;
        oscillator = OSCILLATOR * 1e6 / (2 * half);
        next = $realtime;
        if (oscillator < `OSCILLATOR_LOW || oscillator > `OSCILLATOR_HIGH)
            $display("the PLL's oscillator would run at %0f MHz: no lock", oscillator);
        else
            forever begin
                next = next + half;  // a real number: edges are rounded to 1 ps, and their errors do not add up
                #(next - $realtime) out = ~out;
                locked = count == UNTIL_LOCK;
            end
    end
endmodule
