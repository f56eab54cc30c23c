`timescale 1ps / 1ps

// Models of the cells of nextpnr that are not among Yosys' models of iCE40, or that Verilator cannot simulate or
// simulates slowly there. What no board needs is refused by $fatal.

// A logic cell: a table of four inputs, a bit of a carry chain, and a flip-flop. Its flip-flop starts at 0.
module ICESTORM_LC (
    input I0, I1, I2, I3, CIN, CLK, CEN, SR,
    output LO, O, COUT
);
    parameter [15:0] LUT_INIT = 0;
    parameter [0:0]
        NEG_CLK = 0, CARRY_ENABLE = 0, DFF_ENABLE = 0, SET_NORESET = 0, ASYNC_SR = 0, CIN_CONST = 0, CIN_SET = 0;

    initial
        if (NEG_CLK)
            $fatal(1, "ICESTORM_LC: no model of falling edges");

    // Whether the table depends on an input. The carry may use one on which it does not depend, and that may be
    // the table's own output.
    localparam USES_3 = LUT_INIT[15:8] != LUT_INIT[7:0];
    localparam USES_2 = {LUT_INIT[15:12], LUT_INIT[7:4]} != {LUT_INIT[11:8], LUT_INIT[3:0]};
    localparam USES_1 = (LUT_INIT >> 2 & 16'h3333) != (LUT_INIT & 16'h3333);
    localparam USES_0 = (LUT_INIT >> 1 & 16'h5555) != (LUT_INIT & 16'h5555);
    wire [3:0] entry = {I3 & USES_3, I2 & USES_2, I1 & USES_1, I0 & USES_0};
    wire found = LUT_INIT[entry];
    wire carry = CIN_CONST ? CIN_SET : CIN;
    assign COUT = CARRY_ENABLE & (I1 & I2 | (I1 | I2) & carry);
    assign LO = found;
    generate
        if (!DFF_ENABLE)
            assign O = found;
        else begin
            reg kept = 0;
            assign O = kept;
            if (ASYNC_SR) begin
                always @(posedge CLK, posedge SR)
                    if (SR)
                        kept <= SET_NORESET;
                    else if (CEN)
                        kept <= found;
            end else
                always @(posedge CLK)
                    if (CEN)
                        kept <= SR ? SET_NORESET : found;
        end
    endgenerate
endmodule

module ICESTORM_PLL (
    input REFERENCECLK, RESETB, BYPASS, EXTFEEDBACK, LATCHINPUTVALUE, SDI, SCLK,
    input
        DYNAMICDELAY_7, DYNAMICDELAY_6, DYNAMICDELAY_5, DYNAMICDELAY_4, DYNAMICDELAY_3, DYNAMICDELAY_2,
        DYNAMICDELAY_1, DYNAMICDELAY_0,
    output PLLOUT_A, PLLOUT_A_GLOBAL, LOCK, SDO
);
    parameter [3:0] DIVR = 0;
    parameter [6:0] DIVF = 0;
    parameter [2:0] DIVQ = 0, FILTER_RANGE = 0, FEEDBACK_PATH = 0;
    parameter PLLTYPE = 0, TEST_MODE = 0, SHIFTREG_DIVMODE = 0, ENABLE_ICEGATE_PORTA = 0, ENABLE_ICEGATE_PORTB = 0;
    parameter PLLOUT_SELECT_A = 0, PLLOUT_SELECT_B = 0, FDA_RELATIVE = 0, FDA_FEEDBACK = 0;
    parameter DELAY_ADJMODE_REL = 0, DELAY_ADJMODE_FB = 0;
    localparam SIMPLE = 1;

    initial
        if (FEEDBACK_PATH != SIMPLE || PLLOUT_SELECT_A != 0)
            $fatal(1, "ICESTORM_PLL: no model of feedback %0d and output %0d", FEEDBACK_PATH, PLLOUT_SELECT_A);
    always @(posedge LOCK)
        if (!RESETB || BYPASS)
            $fatal(1, "ICESTORM_PLL: no model of a reset or of a bypass");

    routed_pll #(.UP(DIVF + 1), .DOWN((DIVR + 1) << DIVQ), .OSCILLATOR(1 << DIVQ)) pll (
        .in(REFERENCECLK), .out(PLLOUT_A), .locked(LOCK)
    );
endmodule
