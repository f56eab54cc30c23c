// What Yosys has no model of: the block RAM and the multiplier of ECP5, in the modes that qcloop's netlists
// use. Anything else is refused by $fatal. Ports and parameters are those of Yosys' ecp5/cells_bb.v, behaviour
// what its mapping rules count on: lattice/brams_16kd.txt, brams_map_16kd.v and dsp_map_18x18.v.

// 2,048 bytes of 9 bits behind two ports of one clock, 1 or 2 bytes wide; or port A writes, and port B reads,
// 4 bytes. Or 4,096 halves of bytes, 4 bits each, behind two ports of one clock. What a write does to an output:
//
//   NORMAL           the port that writes keeps its output
//   READBEFOREWRITE  the port that writes outputs what was there before
//
// A byte, or a half, that one port writes and the other reads in the same clock reads as x.
module DP16KD (
    input
        DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3,
        DIA2, DIA1, DIA0,
    input
        ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input
        CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    output
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3,
        DOA2, DOA1, DOA0,
    input
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3,
        DIB2, DIB1, DIB0,
    input
        ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input
        CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3,
        DOB2, DOB1, DOB0
);
    parameter DATA_WIDTH_A = 18;
    parameter DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG";
    parameter REGMODE_B = "NOREG";
    parameter RESETMODE = "SYNC";
    parameter ASYNC_RESET_RELEASE = "SYNC";
    parameter WRITEMODE_A = "NORMAL";
    parameter WRITEMODE_B = "NORMAL";
    parameter CSDECODE_A = "0b000";
    parameter CSDECODE_B = "0b000";
    parameter CLKAMUX = "CLKA";
    parameter CLKBMUX = "CLKB";
    parameter GSR = "ENABLED";
    parameter INIT_DATA = "STATIC";
    parameter WID = 0;
    parameter [319:0]
        INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0, INITVAL_04 = 0, INITVAL_05 = 0,
        INITVAL_06 = 0, INITVAL_07 = 0, INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0,
        INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0, INITVAL_10 = 0, INITVAL_11 = 0,
        INITVAL_12 = 0, INITVAL_13 = 0, INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0,
        INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0, INITVAL_1C = 0, INITVAL_1D = 0,
        INITVAL_1E = 0, INITVAL_1F = 0, INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0,
        INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0, INITVAL_28 = 0, INITVAL_29 = 0,
        INITVAL_2A = 0, INITVAL_2B = 0, INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0,
        INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0, INITVAL_34 = 0, INITVAL_35 = 0,
        INITVAL_36 = 0, INITVAL_37 = 0, INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0,
        INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;
    localparam [64*320-1:0] INIT = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38,
        INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30,
        INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
        INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20,
        INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
        INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
        INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00
    };

    localparam NARROW = DATA_WIDTH_A == 4;
    localparam LANES_A = NARROW ? 1 : DATA_WIDTH_A / 9, LANES_B = NARROW ? 1 : DATA_WIDTH_B / 9;

    initial begin
        if (DATA_WIDTH_A != DATA_WIDTH_B && (DATA_WIDTH_A == 4 || DATA_WIDTH_B == 4)
            || !(DATA_WIDTH_A == 4 || DATA_WIDTH_A == 9 || DATA_WIDTH_A == 18 || DATA_WIDTH_A == 36)
            || !(DATA_WIDTH_B == 4 || DATA_WIDTH_B == 9 || DATA_WIDTH_B == 18 || DATA_WIDTH_B == 36 && DATA_WIDTH_A == 36))
            $fatal(1, "DP16KD: no model of widths %0d and %0d", DATA_WIDTH_A, DATA_WIDTH_B);
        if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG")
            $fatal(1, "DP16KD: no model of output registers, %0s and %0s", REGMODE_A, REGMODE_B);
        if (!(WRITEMODE_A == "NORMAL" || WRITEMODE_A == "READBEFOREWRITE")
            || !(WRITEMODE_B == "NORMAL" || WRITEMODE_B == "READBEFOREWRITE"))
            $fatal(1, "DP16KD: no model of write modes %0s and %0s", WRITEMODE_A, WRITEMODE_B);
        if (CSDECODE_A != "0b000" || CSDECODE_B != "0b000")
            $fatal(1, "DP16KD: no model of chip selects %0s and %0s", CSDECODE_A, CSDECODE_B);
        if (CLKAMUX != "CLKA" || CLKBMUX != "CLKB")
            $fatal(1, "DP16KD: no model of clocks %0s and %0s", CLKAMUX, CLKBMUX);
        if (INIT_DATA != "STATIC")
            $fatal(1, "DP16KD: no model of contents that are %0s", INIT_DATA);
    end

    wire [13:0] address_a = {
        ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0
    };
    wire [13:0] address_b = {
        ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0
    };
    wire [35:0] data_a = {
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3,
        DIB2, DIB1, DIB0, DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6,
        DIA5, DIA4, DIA3, DIA2, DIA1, DIA0
    };
    wire [17:0] data_b = data_a[35:18];
    reg [17:0] out_a = 0, out_b = 0;
    assign {
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3,
        DOA2, DOA1, DOA0
    } = out_a;
    assign {
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3,
        DOB2, DOB1, DOB0
    } = out_b;

    // The first entry of a port's word, and the bytes of it that are written. Where a word is wider than a byte,
    // the lowest bits of the address enable bytes.
    wire [11:0] first_a = NARROW ? address_a[13:2] : address_a[13:3] & ~(LANES_A - 1);
    wire [11:0] first_b = NARROW ? address_b[13:2] : address_b[13:3] & ~(LANES_B - 1);
    wire [3:0] write_a = {4{CEA & WEA}} & (LANES_A == 1 ? 4'b1 : address_a[3:0] & ((1 << LANES_A) - 1));
    wire [3:0] write_b = {4{CEB & WEB}} & (LANES_B == 1 ? 4'b1 : address_b[3:0] & ((1 << LANES_B) - 1));
    wire read_a = CEA & (WRITEMODE_A == "READBEFOREWRITE" | ~WEA);
    wire read_b = CEB & (WRITEMODE_B == "READBEFOREWRITE" | ~WEB);

    localparam ENTRIES = NARROW ? 4096 : 2048;
    localparam [8:0] MASK = NARROW ? 9'h00f : 9'h1ff;
    reg [8:0] memory [0:ENTRIES-1];
    integer place;
    initial
        for (place = 0; place < ENTRIES; place = place + 1)
            if (NARROW)
                memory[place] = INIT[place / 4 * 20 + place / 2 % 2 * 9 + place % 2 * 4 +: 4];
            else
                memory[place] = INIT[place / 2 * 20 + place % 2 * 9 +: 9];

    function [8:0] seen_by_a(input [11:0] place);
        seen_by_a = (place & ~(LANES_B - 1)) == first_b && write_b[place & (LANES_B - 1)] ? 9'bx : memory[place];
    endfunction

    function [8:0] seen_by_b(input [11:0] place);
        seen_by_b = (place & ~(LANES_A - 1)) == first_a && write_a[place & (LANES_A - 1)] ? 9'bx : memory[place];
    endfunction

    integer lane;
    wire clock = CLKA | CLKB;
    always @(posedge clock) begin
        if (CEA !== 0 && CLKA !== 1 || CEB !== 0 && CLKB !== 1)
            $fatal(1, "DP16KD: no model of two clocks");
        if (CEA !== 0 && {CSA2, CSA1, CSA0} !== 0 || CEB !== 0 && {CSB2, CSB1, CSB0} !== 0)
            $fatal(1, "DP16KD: no model of ports that are not selected");
        if (RSTA !== 0 || RSTB !== 0)
            $fatal(1, "DP16KD: no model of resets");
        if (LANES_B == 4 && WEB !== 0)
            $fatal(1, "DP16KD: port B cannot write 4 bytes");
        if (^{write_a, write_b} === 1'bx || |write_a && ^first_a === 1'bx || |write_b && ^first_b === 1'bx)
            $fatal(1, "DP16KD: whether or where to write is unknown");
        if (read_a !== 0 && LANES_A < 4)
            for (lane = 0; lane < LANES_A; lane = lane + 1)
                out_a[9*lane +: 9] <= read_a === 1 ? seen_by_a(first_a + lane) : 9'bx;
        if (read_b !== 0)
            for (lane = 0; lane < LANES_B; lane = lane + 1)
                if (LANES_B == 4 && lane < 2)
                    out_a[9*lane +: 9] <= read_b === 1 ? seen_by_b(first_b + lane) : 9'bx;
                else
                    out_b[9*lane%18 +: 9] <= read_b === 1 ? seen_by_b(first_b + lane) : 9'bx;
        for (lane = 0; lane < LANES_A; lane = lane + 1)
            if (write_a[lane])
                memory[first_a + lane] = data_a[9*lane +: 9] & MASK;
        for (lane = 0; lane < LANES_B && LANES_B < 4; lane = lane + 1)
            if (write_b[lane])
                memory[first_b + lane] = data_b[9*lane +: 9] & MASK;
    end
endmodule

// Product of 18 by 18 bits, each signed or not, without registers.
module MULT18X18D (
    input
        A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input
        B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input
        C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    input
        SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    output
        P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16,
        P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    parameter REG_INPUTA_CLK = "NONE";
    parameter REG_INPUTB_CLK = "NONE";
    parameter REG_INPUTC_CLK = "NONE";
    parameter REG_PIPELINE_CLK = "NONE";
    parameter REG_OUTPUT_CLK = "NONE";
    parameter MULT_BYPASS = "DISABLED";

    initial begin
        if (REG_INPUTA_CLK != "NONE" || REG_INPUTB_CLK != "NONE" || REG_INPUTC_CLK != "NONE"
            || REG_PIPELINE_CLK != "NONE" || REG_OUTPUT_CLK != "NONE")
            $fatal(1, "MULT18X18D: no model of registers");
        if (MULT_BYPASS != "DISABLED")
            $fatal(1, "MULT18X18D: no model of a bypass");
    end
    always @(SOURCEA or SOURCEB)
        if (SOURCEA !== 0 || SOURCEB !== 0)
            $fatal(1, "MULT18X18D: no model of cascades");

    wire signed [18:0] a = {
        SIGNEDA & A17, A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0
    };
    wire signed [18:0] b = {
        SIGNEDB & B17, B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0
    };
    wire signed [37:0] product = a * b;
    assign {
        P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16,
        P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
    } = product[35:0];
endmodule
