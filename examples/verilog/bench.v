// Sends requests.hex to the engine and writes what comes back to answers.hex.
`timescale 1ns / 1ps

module bench;
    localparam MOST = 65536;
    // The simulation ends after so many clocks in which no byte moves. Clearing the memory takes 16,384.
    localparam PATIENCE = 20000;

    reg clk = 0, rst = 1;
    always #5 clk = !clk;

    reg [7:0] requests [0:MOST-1];
    reg [7:0] value;
    reg [16:0] sent = 0, count = 0;
    integer file, quiet = 0;

    // A byte moves in each clock in which valid and ready are high; valid never waits for ready.
    wire rx_valid = !rst && sent < count;
    wire rx_ready, tx_valid;
    wire [7:0] tx_payload;
    wire ready, idle;

    qcloop_engine engine (
        .clk(clk), .rst(rst),
        .rx__valid(rx_valid), .rx__ready(rx_ready), .rx__payload(requests[sent[15:0]]),
        .tx__valid(tx_valid), .tx__ready(1'b1), .tx__payload(tx_payload),
        .ready(ready), .idle(idle)
    );

    initial begin
        file = $fopen("requests.hex", "r");
        while ($fscanf(file, "%h", value) == 1) begin
            requests[count[15:0]] = value;
            count = count + 1;
        end
        $fclose(file);
        file = $fopen("answers.hex", "w");
        repeat (4) @(posedge clk);
        #1 rst = 0;
    end

    always @(posedge clk) begin
        quiet <= rst || rx_valid && rx_ready || tx_valid ? 0 : quiet + 1;
        if (tx_valid && !rst) $fdisplay(file, "%02x", tx_payload);
        if (rx_valid && rx_ready) sent <= sent + 1;
        if (quiet == PATIENCE) begin
            $display("%0d bytes sent, %0d clocks, idle %b", sent, $time / 10, idle);
            $fclose(file);
            $finish;
        end
    end
endmodule
