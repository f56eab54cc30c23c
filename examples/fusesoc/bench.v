// Sends INFO and prints the answer, which ends with tlast.
`timescale 1ns / 1ps

module bench;
    reg aclk = 0, aresetn = 0;
    always #5 aclk = !aclk;

    // INFO is opcode 1 with no operands: three bytes.
    reg [1:0] sent = 0;
    wire [7:0] request = sent == 0 ? 8'h01 : 8'h00;
    wire request_valid = aresetn && sent < 3;
    wire request_ready, answer_valid, answer_last, ready, idle;
    wire [7:0] answer;
    integer came = 0;

    qcloop core (
        .aclk(aclk), .aresetn(aresetn),
        .s_axis_tdata(request), .s_axis_tvalid(request_valid), .s_axis_tready(request_ready),
        .m_axis_tdata(answer), .m_axis_tvalid(answer_valid), .m_axis_tready(1'b1), .m_axis_tlast(answer_last),
        .ready(ready), .idle(idle)
    );

    initial begin
        repeat (4) @(posedge aclk);
        #1 aresetn = 1;
        repeat (20000) @(posedge aclk);
        $display("FAIL: no answer in 20,000 clocks");
        $finish;
    end

    always @(posedge aclk) begin
        if (request_valid && request_ready) sent <= sent + 1;
        if (answer_valid) begin
            came <= came + 1;
            $write("%0s%02x", came == 0 ? "" : " ", answer);
            if (answer_last) begin
                // Status (0 is OK), length (2 bytes), 31 bytes of results.
                if (came == 33) $display("\nPASS: %0d bytes, the last one with tlast", came + 1);
                else $display("\nFAIL: %0d bytes, and 34 were expected", came + 1);
                $finish;
            end
        end
    end
endmodule
