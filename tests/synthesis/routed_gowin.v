`timescale 1ps / 1ps

// Models of the cells of nextpnr that are not among Yosys' models of Gowin, or not as nextpnr has changed them.
// What no board needs is refused by $fatal.

module LUT1 (input I0, output F);
    parameter [1:0] INIT = 0;
    assign F = INIT[I0];
endmodule

module LUT2 (input I0, I1, output F);
    parameter [3:0] INIT = 0;
    assign F = INIT[{I1, I0}];
endmodule

module LUT3 (input I0, I1, I2, output F);
    parameter [7:0] INIT = 0;
    assign F = INIT[{I2, I1, I0}];
endmodule

module LUT4 (input I0, I1, I2, I3, output F);
    parameter [15:0] INIT = 0;
    assign F = INIT[{I3, I2, I1, I0}];
endmodule

// A bit of a carry chain. Half of its table, that with I2 = 1, tells whether it passes the carry on; the other half
// tells which carry it makes if not. The table is the one that nextpnr has written, or else that of the mode, as
// gowin_pack has them.
module ALU (
    input I0, I1, I2, I3, CIN,
    output SUM, COUT
);
    parameter ALU_MODE = 0;
    parameter [15:0] RAW_ALU_LUT =
        ALU_MODE == 0 ? 16'b0110_0000_0110_1010 :
        ALU_MODE == 1 ? 16'b1001_0000_1001_1010 :
        ALU_MODE == 2 ? 16'b0110_0000_1001_1010 :
        ALU_MODE == 3 ? 16'b1001_0000_1001_1111 :
        ALU_MODE == 4 ? 16'b1001_0000_1001_1010 :
        ALU_MODE == "C2L" ? 16'b0000_0000_0000_0000 :
        ALU_MODE == "ONE2C" ? 16'b0000_0000_0000_1111 : 16'bx;

    initial
        if (!(ALU_MODE <= 4 || ALU_MODE == "C2L" || ALU_MODE == "ONE2C"))
            $fatal(1, "ALU: no model of the mode %0d", ALU_MODE);

    // Whether the table depends on an input.
    localparam USES_3 = RAW_ALU_LUT[15:8] != RAW_ALU_LUT[7:0];
    localparam USES_1 = (RAW_ALU_LUT >> 2 & 16'h3333) != (RAW_ALU_LUT & 16'h3333);
    localparam USES_0 = (RAW_ALU_LUT >> 1 & 16'h5555) != (RAW_ALU_LUT & 16'h5555);
    wire [1:0] entry = {I1 & USES_1, I0 & USES_0};
    wire pass = RAW_ALU_LUT[{I3 & USES_3, 1'b1, entry}];
    wire made = RAW_ALU_LUT[{2'b00, entry}];
    assign SUM = pass ^ CIN;
    assign COUT = pass ? CIN : made;
endmodule

module RAM16SDP4 (
    input [3:0] WAD, RAD, DI,
    input CLK, CE, WRE,
    output [3:0] DO
);
    parameter [15:0] INIT_0 = 0, INIT_1 = 0, INIT_2 = 0, INIT_3 = 0;
    reg [3:0] memory [0:15];
    integer entry;
    initial
        for (entry = 0; entry < 16; entry = entry + 1)
            memory[entry] = {INIT_3[entry], INIT_2[entry], INIT_1[entry], INIT_0[entry]};
    always @(posedge CLK)
        if (CE & WRE)
            memory[WAD] <= DI;
    assign DO = memory[RAD];
endmodule

// An output whose enable, which is low, is a constant of the pin.
module TBUF (
    input I, OEN,
    output O
);
    parameter NET_I = "NET", NET_O = "NET", NET_OEN = "GND";
    assign O = I;
    initial
        #1 if (OEN)  // a constant
            $fatal(1, "TBUF: no model of an output that is off");
endmodule

module IBUF (
    input I,
    output O
);
    parameter NET_I = "NET", NET_O = "NET";
    assign O = I;
endmodule

module GOWIN_VCC (output V);
    assign V = 1;
endmodule

module GOWIN_GND (output G);
    assign G = 0;
endmodule

// 16 or 18 Kbit behind two ports of one clock, each 4 bits or some bytes of BYTE bits wide. A byte that one port
// writes and the other reads in the same clock is undefined: here each of its bits is the wrong one.
module routed_bsram #(
    parameter WIDTH_A = 9, WIDTH_B = 9, BYTE = 9, WRITE_MODE_A = 0, WRITE_MODE_B = 0,
    parameter [64*32*BYTE-1:0] INIT = 0
) (
    input clock, enable_a, write_a, enable_b, write_b,
    input [13:0] address_a, address_b,
    input [35:0] in_a, in_b,
    output reg [35:0] out_a, out_b
);
    localparam NARROW = WIDTH_A == 4;
    localparam ENTRIES = NARROW ? 4096 : 2048, BITS = NARROW ? 4 : BYTE;
    localparam LANES_A = NARROW ? 1 : WIDTH_A / BYTE, LANES_B = NARROW ? 1 : WIDTH_B / BYTE;

    reg [BITS-1:0] memory [0:ENTRIES-1];
    integer entry, lane;
    initial begin
        out_a = 0;
        out_b = 0;
        if (LANES_A * BITS != WIDTH_A || LANES_B * BITS != WIDTH_B || LANES_A == 3 || LANES_B == 3)
            $fatal(1, "block RAM: no model of widths %0d and %0d", WIDTH_A, WIDTH_B);
        for (entry = 0; entry < ENTRIES; entry = entry + 1)
            memory[entry] = INIT[entry*BITS +: BITS];
    end

    wire [11:0] first_a = NARROW ? address_a[13:2] : address_a[13:3] & ~(LANES_A - 1);
    wire [11:0] first_b = NARROW ? address_b[13:2] : address_b[13:3] & ~(LANES_B - 1);
    // Where a word has several bytes, the lowest bits of the address enable them.
    wire [3:0] chosen_a = LANES_A == 1 ? 4'd1 : address_a[3:0] & ((1 << LANES_A) - 1);
    wire [3:0] chosen_b = LANES_B == 1 ? 4'd1 : address_b[3:0] & ((1 << LANES_B) - 1);
    wire [3:0] written_a = {4{enable_a & write_a}} & chosen_a;
    wire [3:0] written_b = {4{enable_b & write_b}} & chosen_b;

    function [BITS-1:0] seen_by_a(input [11:0] address);
        seen_by_a =
            memory[address]
            ^ {BITS{(address & ~(LANES_B - 1)) == first_b && written_b[address & (LANES_B - 1)]}};
    endfunction

    function [BITS-1:0] seen_by_b(input [11:0] address);
        seen_by_b =
            memory[address]
            ^ {BITS{(address & ~(LANES_A - 1)) == first_a && written_a[address & (LANES_A - 1)]}};
    endfunction

    // Modes of a port that writes: 0, its output stays; 1, it is what is written; 2, it is what was there before.
    always @(posedge clock) begin
        for (lane = 0; lane < LANES_A; lane = lane + 1)
            if (enable_a && (!write_a || WRITE_MODE_A != 0))
                out_a[BITS*lane +: BITS] <=
                    written_a[lane] && WRITE_MODE_A == 1 ? in_a[BITS*lane +: BITS] : seen_by_a(first_a + lane);
        for (lane = 0; lane < LANES_B; lane = lane + 1)
            if (enable_b && (!write_b || WRITE_MODE_B != 0))
                out_b[BITS*lane +: BITS] <=
                    written_b[lane] && WRITE_MODE_B == 1 ? in_b[BITS*lane +: BITS] : seen_by_b(first_b + lane);
        for (lane = 0; lane < LANES_A; lane = lane + 1)
            if (written_a[lane])
                memory[first_a + lane] = in_a[BITS*lane +: BITS];
        for (lane = 0; lane < LANES_B; lane = lane + 1)
            if (written_b[lane])
                memory[first_b + lane] = in_b[BITS*lane +: BITS];
    end
endmodule

module SP (
    input CLK, CE, WRE, RESET, OCE,
    input [2:0] BLKSEL,
    input [13:0] AD,
    input [35:0] DI,
    output [35:0] DO
);
    parameter BIT_WIDTH = 9, WRITE_MODE = 0, READ_MODE = 0, BLK_SEL = 0, RESET_MODE = "SYNC", BYTE = 9, INIT = 0;
    routed_bsram #(
        .WIDTH_A(BIT_WIDTH), .WIDTH_B(BIT_WIDTH), .BYTE(BYTE), .WRITE_MODE_A(WRITE_MODE), .INIT(INIT)
    ) memory (
        .clock(CLK), .enable_a(CE), .write_a(WRE), .address_a(AD), .in_a(DI), .out_a(DO),
        .enable_b(1'b0), .write_b(1'b0), .address_b(14'd0), .in_b(36'd0), .out_b()
    );
    always @(posedge CLK)
        if (RESET || BLKSEL != 0 || READ_MODE != 0 || BLK_SEL != 0)
            $fatal(1, "SP: no model of resets, of blocks and of an output register");
endmodule

module DP (
    input CLKA, CEA, WREA, RESETA, OCEA, CLKB, CEB, WREB, RESETB, OCEB,
    input [2:0] BLKSELA, BLKSELB,
    input [13:0] ADA, ADB,
    input [17:0] DIA, DIB,
    output [17:0] DOA, DOB
);
    parameter BIT_WIDTH_0 = 9, BIT_WIDTH_1 = 9, WRITE_MODE0 = 0, WRITE_MODE1 = 0, READ_MODE0 = 0, READ_MODE1 = 0;
    parameter BLK_SEL_0 = 0, BLK_SEL_1 = 0, RESET_MODE = "SYNC", BYTE = 9, INIT = 0;
    routed_bsram #(
        .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .BYTE(BYTE), .WRITE_MODE_A(WRITE_MODE0),
        .WRITE_MODE_B(WRITE_MODE1), .INIT(INIT)
    ) memory (
        .clock(CLKA),
        .enable_a(CEA), .write_a(WREA), .address_a(ADA), .in_a({18'd0, DIA}), .out_a(DOA),
        .enable_b(CEB), .write_b(WREB), .address_b(ADB), .in_b({18'd0, DIB}), .out_b(DOB)
    );
    always @(posedge CLKA)
        if (RESETA || RESETB || BLKSELA != 0 || BLKSELB != 0 || READ_MODE0 != 0 || READ_MODE1 != 0)
            $fatal(1, "DP: no model of resets, of blocks and of output registers");
endmodule

module SDP (
    input CLKA, CEA, WREA, RESETA, CLKB, CEB, WREB, RESETB, OCE, OCEB,
    input [2:0] BLKSELA, BLKSELB,
    input [13:0] ADA, ADB,
    input [35:0] DI,
    output [35:0] DO
);
    parameter BIT_WIDTH_0 = 9, BIT_WIDTH_1 = 9, READ_MODE = 0, BLK_SEL_0 = 0, BLK_SEL_1 = 0;
    parameter RESET_MODE = "SYNC", BYTE = 9, INIT = 0;
    routed_bsram #(.WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .BYTE(BYTE), .INIT(INIT)) memory (
        .clock(CLKA),
        .enable_a(CEA), .write_a(WREA), .address_a(ADA), .in_a(DI), .out_a(),
        .enable_b(CEB), .write_b(1'b0), .address_b(ADB), .in_b(36'd0), .out_b(DO)
    );
    always @(posedge CLKA)
        if (RESETA || RESETB || BLKSELA != 0 || BLKSELB != 0 || READ_MODE != 0)
            $fatal(1, "SDP: no model of resets, of blocks and of an output register");
endmodule

// Product of 18 by 18 bits, each signed or not, without registers.
module MULT18X18 (
    input [17:0] A, B, SIA, SIB,
    input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET,
    output [35:0] DOUT
);
    wire signed [18:0] a = {ASIGN & A[17], A};
    wire signed [18:0] b = {BSIGN & B[17], B};
    wire signed [37:0] product = a * b;
    assign DOUT = product[35:0];
    initial
        #1 if (ASEL || BSEL)  // constants
            $fatal(1, "MULT18X18: no model of cascades");
endmodule

module rPLL (
    input CLKIN, CLKFB, RESET, RESET_P,
    input [5:0] FBDSEL, IDSEL, ODSEL,
    input [3:0] PSDA, DUTYDA, FDLY,
    output CLKOUT, LOCK
);
    parameter FCLKIN = "100.0", DEVICE = "", IDIV_SEL = 0, FBDIV_SEL = 0, ODIV_SEL = 8;
    parameter DYN_IDIV_SEL = "false", DYN_FBDIV_SEL = "false", DYN_ODIV_SEL = "false", DYN_DA_EN = "false";
    parameter PSDA_SEL = "0000", DUTYDA_SEL = "1000", DYN_SDIV_SEL = 2, CLKFB_SEL = "internal";
    parameter CLKOUT_BYPASS = "false", CLKOUTP_BYPASS = "false", CLKOUTD_BYPASS = "false";
    parameter CLKOUTD_SRC = "CLKOUT", CLKOUTD3_SRC = "CLKOUT";

    initial
        if (DYN_IDIV_SEL != "false" || DYN_FBDIV_SEL != "false" || DYN_ODIV_SEL != "false"
            || CLKFB_SEL != "internal" || CLKOUT_BYPASS != "false")
            $fatal(1, "rPLL: no model of dynamic dividers, of feedback from outside and of a bypass");
    always @(posedge LOCK)
        if (RESET || RESET_P)
            $fatal(1, "rPLL: no model of a reset");

    routed_pll #(.UP(FBDIV_SEL + 1), .DOWN(IDIV_SEL + 1), .OSCILLATOR(ODIV_SEL)) pll (
        .in(CLKIN), .out(CLKOUT), .locked(LOCK)
    );
endmodule
