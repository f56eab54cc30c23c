// Writes the waveform in Icarus: wave.fst, with `vvp ... -fst`.
module dump;
    initial begin
        $dumpfile("wave.fst");
        $dumpvars(0, qcloop_engine);
    end
endmodule
