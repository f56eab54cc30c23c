`timescale 1ps / 1ps

// Models of the cells of nextpnr that are not among Yosys' models of ECP5, or that Verilator cannot simulate or
// simulates slowly there. What no board needs is refused by $fatal.

// Half of a slice: a table of four inputs, a bit of a carry chain, or a bit of LUT memory.
module TRELLIS_COMB (
    input A, B, C, D, M, FCI, F1, FXA, FXB, DI0, DI1, WD, WAD0, WAD1, WAD2, WAD3, WRE, WCK,
    output F, FCO, OFX
);
    parameter MODE = "LOGIC";
    parameter [15:0] INITVAL = 0;
    parameter CCU2_INJECT1 = "NO";
    parameter WREMUX = "WRE";
    parameter WCKMUX = "WCK";
    // Whether OFX chooses between the outputs of two other multiplexers, not of two tables.
    parameter IS_Z1 = 0;

    initial
        if (WREMUX != "WRE" || WCKMUX != "WCK")
            $fatal(1, "TRELLIS_COMB: no model of %0s and %0s", WREMUX, WCKMUX);

    // Whether the table depends on an input.
    localparam USES_D = INITVAL[15:8] != INITVAL[7:0];
    localparam USES_C = {INITVAL[15:12], INITVAL[7:4]} != {INITVAL[11:8], INITVAL[3:0]};
    localparam USES_B = (INITVAL >> 2 & 16'h3333) != (INITVAL & 16'h3333);
    localparam USES_A = (INITVAL >> 1 & 16'h5555) != (INITVAL & 16'h5555);
    wire [3:0] entry = {D & USES_D, C & USES_C, B & USES_B, A & USES_A};
    wire found = INITVAL[entry];
    generate
        if (MODE == "LOGIC")
            assign F = found;
        else if (MODE == "CCU2") begin
            wire generated = INITVAL[{B, A}];
            wire injected = CCU2_INJECT1 == "YES";
            assign F = found ^ (FCI & ~injected);
            assign FCO = found ? FCI : generated & ~injected;
        end else if (MODE == "DPRAM") begin
            reg [15:0] memory = INITVAL;
            always @(posedge WCK)
                if (WRE)
                    memory[{WAD3, WAD2, WAD1, WAD0}] <= WD;
            assign F = memory[{A, C, B, D}];
        end else
            initial $fatal(1, "TRELLIS_COMB: no model of the mode %0s", MODE);
    endgenerate
    assign OFX = IS_Z1 ? (M ? FXB : FXA) : M ? F1 : F;
endmodule

// Where a slice that writes to LUT memory takes address and data.
module TRELLIS_RAMW (
    input A0, B0, C0, D0, A1, B1, C1, D1,
    output WADO0, WADO1, WADO2, WADO3, WDO0, WDO1, WDO2, WDO3
);
    assign {WADO3, WADO2, WADO1, WADO0} = {A0, C0, B0, D0};
    assign {WDO3, WDO2, WDO1, WDO0} = {B1, D1, A1, C1};
endmodule

// A flip-flop. It starts at the value to which its reset sets it.
module TRELLIS_FF (
    input CLK, LSR, CE, DI, M,
    output reg Q
);
    parameter GSR = "DISABLED";
    parameter CEMUX = "1";
    parameter CLKMUX = "CLK";
    parameter LSRMUX = "LSR";
    parameter SRMODE = "LSR_OVER_CE";
    parameter REGSET = "RESET";

    localparam START = REGSET == "SET";
    wire enable = CEMUX == "1" || (CEMUX == "INV") ^ CE;
    initial begin
        Q = START;
        if (CLKMUX != "CLK" || LSRMUX != "LSR" || !(CEMUX == "1" || CEMUX == "CE" || CEMUX == "INV"))
            $fatal(1, "TRELLIS_FF: no model of %0s, %0s and %0s", CLKMUX, LSRMUX, CEMUX);
    end
    generate
        if (SRMODE == "ASYNC") begin
            always @(posedge CLK, posedge LSR)
                if (LSR)
                    Q <= START;
                else if (enable)
                    Q <= DI;
        end else
            always @(posedge CLK)
                if (LSR)
                    Q <= START;
                else if (enable)
                    Q <= DI;
    endgenerate
endmodule

module DCCA (
    input CLKI, CE,
    output CLKO
);
    assign CLKO = CLKI;
endmodule

// CLKOP closes the loop, and nothing else hangs on it: it is not made.
module EHXPLLL (
    input
        CLKI, CLKFB, PHASESEL1, PHASESEL0, PHASEDIR, PHASESTEP, PHASELOADREG, STDBY, PLLWAKESYNC, RST, ENCLKOP,
        ENCLKOS,
    output CLKOP, CLKOS, LOCK
);
    parameter CLKI_DIV = 1, CLKFB_DIV = 1, CLKOP_DIV = 1, CLKOS_DIV = 1;
    parameter CLKOP_CPHASE = 0, CLKOP_FPHASE = 0, CLKOS_CPHASE = 0, CLKOS_FPHASE = 0;
    parameter FEEDBK_PATH = "CLKOP", CLKOP_ENABLE = "ENABLED", CLKOS_ENABLE = "DISABLED";
    parameter STDBY_ENABLE = "DISABLED", PLLRST_ENA = "DISABLED", INTFB_WAKE = "DISABLED";
    parameter DPHASE_SOURCE = "DISABLED", OUTDIVIDER_MUXA = "DIVA", OUTDIVIDER_MUXB = "DIVB";

    initial
        if (FEEDBK_PATH != "CLKOP" || CLKOP_ENABLE != "ENABLED" || CLKOS_ENABLE != "ENABLED")
            $fatal(1, "EHXPLLL: no model of %0s, %0s and %0s", FEEDBK_PATH, CLKOP_ENABLE, CLKOS_ENABLE);
    always @(posedge LOCK)
        if (RST || STDBY)
            $fatal(1, "EHXPLLL: no model of a reset or of a pause");

    assign CLKOP = 0;
    routed_pll #(.UP(CLKFB_DIV * CLKOP_DIV), .DOWN(CLKI_DIV * CLKOS_DIV), .OSCILLATOR(CLKOS_DIV)) pll (
        .in(CLKI), .out(CLKOS), .locked(LOCK)
    );
endmodule
