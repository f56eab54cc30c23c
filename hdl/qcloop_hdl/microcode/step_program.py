"""The program of the microprogrammed learner, second part: the training step, image by image.

``docs/array.md`` defines the step. Variables are declared in :mod:`qcloop_hdl.microcode.request_program`.
"""

TEXT = """
# -- forward -----------------------------------------------------------------
n2: OUT SWITCH PRODUCTS_ON; LD =0; ST LN
f1: LD LN; OUT LAYER
CALL region; LD LN; SUB =1; JP f3
OUT PRODUCT 0; SETC NB
PASS; JMP f6
f3: OUT PRODUCT 1
SETP0 UIN; SETC INPUTS; PASS [0+]
LD BIAS; SUB =1; JN f6
LD =255; OUT VECTOR
f6: SETC UNITS
LD LN; SUB LASTLN; JP o1
SETP0 UOUT; SETN SHIFT; JS f7
f6p: IN RESULT; ST T0; IN RESULT; ST T1; LD T0; SUB T1; CALL act; DJNZ f6p
f61: LD LN; ADD =1; ST LN; JMP f1
act: SHR; SUB =128; JP a1; ADD =256; JN a2
act1: ADD TABX; OUT INDEX; LD [2]; ST [0+]; RET
a1: LD =255; JMP act1
a2: LD =0; JMP act1
f7: IN RESULT; SHR; SUB =128; JP f8; ADD =256; JN f9
f72: ADD TABX; OUT INDEX; LD [2]; ST [0+]; DJNZ f7
JMP f61
f8: LD =255; JMP f72
f9: LD =0; JMP f72

# -- the classes -------------------------------------------------------------
# M is 1 more than the largest sum
o1: SETP0 =Y; LD =-536870912; ST M; LD =0; ST T0; JS o3
o2: IN RESULT; ST S; IN RESULT; ST T1; LD S; SUB T1; CALL best; DJNZ o2
JMP o41
best: ST [0+]; SUB M; JN best1; ADD M; ADD =1; ST M; LD T0; ST BEST
best1: LD T0; ADD =1; ST T0; RET
o3: IN RESULT; ST [0+]; SUB M; JN o4; ADD M; ADD =1; ST M; LD T0; ST BEST
o4: LD T0; ADD =1; ST T0; DJNZ o3
o41: OUT SWITCH PRODUCTS_OFF
LD TRAINS; SUB =1; JP o5
LD BEST; OUT CLASS; JMP next
o5: LD BEST; SUB LABEL; JN o6; SUB =1; JP o6
LD =1; OUT COUNT 0
o6: SETP0 =Y; SETC UNITS; LD M; SUB =1; ST M; LD =0; ST S; LD =1; OUT FACTOR
SETN SHIFT
o7: LD M; SUB [0]; SHR
SUB =255; JP o81
o8: ADD =EXP+255; OUT INDEX
MUL [2]; ST [0+]; ADD S; ST S; DJNZ o7
JMP o82
o81: LD =0; JMP o8
# p = floor(65536 e / S), for each
o82: SETN =16; SETP0 =Y; SETC UNITS; LD BEST; ADD =Y; OUT INDEX; LD [2]; SUB S; JP o10
o9: LD [0]; DIV S; IN QUOTIENT; ST [0+]; DJNZ o9
# the label's error, and its penalty
o13: LD LABEL; ADD =Y; OUT INDEX
LD [2]; ST T0; SUB =65536; ST [2]
LD T0; SUB =1; JN o16
LD =256; ST T1
o14: LD T0; SUB =65536; JP o15; LD T0; ADD T0; ST T0; LD T1; ADD =256; ST T1; JMP o14
o15: LD T0; SETN =8; SHR; ST T0; LD T1; SUB T0; JMP o17
# one of them is S, and the others 0
o10: LD [0]; SUB S; JP o11; LD =0
o101: ST [0+]; DJNZ o10
JMP o13
o11: LD =65536; JMP o101
o16: LD =4096
o17: OUT COUNT 1
LD =0; ST KALL
OUT SWITCH PRODUCTS_OFF; SETP0 =Y; SETC UNITS
o18: LD [0]; ST [0+]; DJNZ o18
JMP b4

# -- backward ----------------------------------------------------------------
b1: LD BASE; OUT REGION 0; OUT REGION 1; LD INPUTS; CALL region2
OUT SWITCH PRODUCTS_ON; OUT PRODUCT 2
SETP0 ERRS; SETC UNITS
JS b3
b2: LDL [0+]; OUT VECTOR; ST T0; LD =0; SUB T0; OUT VECTOR; DJNZ b2
JMP b30
b3: PASS [0+]
b30: SETP0 =Y; SETC INPUTS
b31: IN RESULT; ST [0+]; DJNZ b31
IN SIZES; NORM 1
OUT SWITCH PRODUCTS_OFF; IN SHIFTS; ADD KALL; ST KALL
SETP0 =Y; SETP1 UIN; SETC INPUTS
b33: LD [0]; SHR; ROUND =1; OUT FACTOR; MUL [1+]; ST [0+]; DJNZ b33
LD LN; SUB =1; ST LN; OUT LAYER
# the errors of its units
b4: IN SIZES; NORM 0
IN SHIFTS; ADD KALL; ST KALL; ST K
SETP0 =Y; SETP1 ERRS; SETC UNITS
b42: LD [0+]; SHR; ROUND =1; STL [1+]; DJNZ b42
LD LN; SUB =1; JP b1

# -- the update --------------------------------------------------------------
LD =0; ST LN
u1: LD LN; OUT LAYER
CALL region
LD =0; SUB K; SUB EXPO; ST RSH
SUB =25; JP unext
LD RSH; ADD =16; JP u11; LD =-16; ST RSH
u11: LD BLOCKS; SUB =1; OUT WORDS
SETP1 ERRS
LD LN; SUB =1; JP u12
# inputs of 1 change nothing by shifts of 16 and more
LD RSH; JN us; SUB =16; JN u13; JMP unext
u12: LD RSH; SUB =8; JN us; SUB =8; JP us
# ROW multiplies the errors, two to a word, by the rate and by what the input is in 2^-15 of a step
u13: LD RATE; OUT FACTOR; SETP0 =Y; SETC BLOCKS; JS u2
u14: MULL [1+]; STL [0]; LD =0; STU [0+]; DJNZ u14
JMP u3
u2: MULL [1+]; STL [0]; MULL [1+]; STU [0+]; DJNZ u2
LD BLOCKS; ADD BLOCKS; SUB COLS; SUB =1; JN u3
LD BLOCKS; ADD =Y-1; OUT INDEX; LD =0; STU [2]
u3: LD =-32768; SETN RSH; SHR; ST XP
LD LN; SUB =1; JP u8
LD XP
u5: OUT STEP; OUT LIST
u6: ROW Y+LISTED; JF u61; JMP unext
u61: CALL settle; JMP u6

# layers behind the first: the inputs of their rows are any numbers
u8: SETP1 UIN; SETC INPUTS; LD XP; OUT FACTOR
u81: MULL [1+]; OUT STEP
u82: ROW Y; JF u83; DJNZ u81
LD BIAS; SUB =1; JN unext
MULL =255; OUT STEP
u84: ROW Y; JF u85; JMP unext
u83: CALL settle; LD XP; OUT FACTOR; JMP u82
u85: CALL settle; JMP u84

# shifts that a factor of 16 bits cannot make: the steps of each row are made before, and ROW takes them
us: LD RATE; OUT FACTOR; SETP0 ERRS; SETC UNITS
us1: MULL [0]; STL [0+]; DJNZ us1
LD =25; SUB RSH; ST T1; LD =16777216; SETN T1; SHR; SUB =1; ST HALF
LD LN; SUB =1; JP us2
LD =1; ST X; CALL steps; LD =-32768; JMP u5
us2: LD INPUTS; ST ROWC; LD UIN; ST UPTR
us3: SETP1 UPTR; LDL [1]
us4: ST X; SUB =1; JN us7; CALL steps; LD =-32768
us45: OUT STEP
us5: ROW Y; JF us6
LD UPTR; ADD =1; ST UPTR; LD ROWC; SUB =1; ST ROWC; SUB =1; JP us3
ADD =1; JN unext; LD BIAS; SUB =1; JN unext; LD =255; JMP us4
us6: CALL settle; JMP us5
us7: LD =0; JMP us45

unext: LD LN; SUB LASTLN; JP udone; LD LN; ADD =1; ST LN; JMP u1
udone: LD NBATCH; SUB =2; JN next
LD IMAGES; ADD =1; ST IMAGES; SUB NBATCH; JN next

# -- the end of a batch ------------------------------------------------------
sweep: LD =0; ST IMAGES; OUT STEP; CALL reach; LD =0; ST LN
w1: LD LN; OUT LAYER; CALL region; LD BLOCKS; SUB =1; OUT WORDS; SETC ROWS
w2: ROW Y+LOOKS; JF w3
w25: DJNZ w2
LD LN; SUB LASTLN; JP w4; LD LN; ADD =1; ST LN; JMP w1
w3: CALL settle; JMP w2
w4: LD =65535; OUT REACH; JMP next

# -- what is called ----------------------------------------------------------
word: IN BYTE; ST T0; IN BYTE; STU T1; MUL T1; ADD T0; RET
region: LD BASE; OUT REGION 0; OUT REGION 1; LD ROWS
region2: OUT REGION 0; OUT REGION 1; LD COLS; OUT REGION 0; OUT REGION 1; RET
# the steps of a row, with the other sign, as ROW takes them by -1
steps: LD X; OUT FACTOR; SETP0 =Y; SETP1 ERRS; SETC UNITS; LD RSH; SUB =16; JN st2
SETN RSH; JS st1
st0: MULL [1+]; ADD HALF; SHR; ST [0+]; LD =0; ST [0+]; DJNZ st0
JMP st6
st1: MULL [1+]; ADD HALF; SHR; ST [0+]; DJNZ st1
JMP st6
st2: MULL [1+]; ST T0; LD RSH; ST T1; SUB =1; JN st3
LD T0; ADD HALF; SETN RSH; SHR; JMP st4
st3: LD T0
st4: SUB =32767; JN cl0a; LD =0; cl0a: ADD =65534; JP cl0b; LD =0; cl0b: SUB =32767; ST T0; LD T1; JP st5
ADD =1; ST T1; LD T0; ADD T0; JMP st4
st5: LD T0; ST [0+]; JS st51; LD =0; ST [0+]
st51: DJNZ st2
# two steps in a word
st6: LD =0; ST [0+]; SETP0 =Y; SETP1 =Y; SETC BLOCKS
st7: LD [1+]; STL [0]; LD [1+]; STU [0+]; DJNZ st7
RET
reach: LD REACHV; SUB =32767; JN re1; LD =32768
re1: ADD =32767; OUT REACH; RET

settle: OUT READ 1; LD SLOW; JP slow; IN ACCUMULATOR; OUT READ 0; ST ACC; JN q3
# up, one device: MV is the gap's address, GAP minus the rest
LD =0; SUB ACC; ST GAP; IN ACCUMULATOR; SETN =10; SHR; JP lv1; ADD =64
lv1: ST OLD1; ADD =GAPS
q1: ST MV; OUT INDEX; LDL [2]; ADD GAP; ADD GAP; JP q2
SUB GAP; ST GAP; LD MV; ADD =1; JMP q1
q2: LD REACHV; ADD GAP; JP q22; LDL [2]; SUB =65535; JN q22; LD =0; SUB REACHV; ST GAP
q22: LD =0; SUB GAP; OUT WRITE; LD MV; SUB =GAPS; JMP q7
# down, one device
q3: ST GAP; IN ACCUMULATOR; SETN =10; SHR; JP lv2; ADD =64
lv2: ST OLD1; ADD =DOWN
q4: ST MV; OUT INDEX; LDL [2]; ADD GAP; ADD GAP; JP q6
SUB GAP; ST GAP; LD MV; SUB =1; JMP q4
q6: LD REACHV; ADD GAP; JP q62; LDL [2]; SUB =65535; JN q62; LD =0; SUB REACHV; ST GAP
q62: LD GAP; OUT WRITE; LD MV; SUB =DOWN
q7: ST MV; SUB OLD1; JN q8; SUB =1; JN q9
q8: LD MV; OUT PROGRAM
q9: RET
slow: IN ACCUMULATOR
OUT READ 0; ST ACC; LD =63; ST OLD2; IN ACCUMULATOR; SETN =10; SHR; JP lv3; ADD =64
lv3: ST OLD1
JS s1
OUT SWITCH SECOND_ON; OUT READ 0; LD =0; IN ACCUMULATOR; SETN =10; SHR; JP lv4; ADD =64
lv4: OUT SWITCH SECOND_OFF; ST OLD2
LD ACC; JN s2
ST REST; LD OLD2; ST LOW; LD OLD1; ST HIGH; JMP s4
s1: LD ACC; JN s2
ST REST; LD =0; ST LOW; LD OLD1; ST HIGH; JMP s4
s2: LD =0; SUB ACC; ST REST; LD OLD1; ST LOW; LD OLD2; ST HIGH
s4: LD LOW; SUB =1; JN s5; SUB TOP; JP s5
ADD TOPG; OUT INDEX; LD =0; JMP s6
s5: LD HIGH; SUB TOP; JP s11
ADD TOPG; OUT INDEX; LD =1
s6: ST MV; LDL [2]; ST GAP
LD RULE; SUB =2; JP s9
LD REST; ADD REST; SUB GAP; SUB =1; JN s12
s7: LD REST; SUB GAP; ST REST; LD MV; SUB =1; JP s8
LD LOW; SUB =1; ST LOW; JMP s4
s8: LD HIGH; ADD =1; ST HIGH; JMP s4
# stochastic
s9: LD REST; SUB GAP; JP s7
LD REST; SUB =1; JN s12
IN WORD; ST T0; STU T1
LD =1; OUT COUNT 2
LD GAP; SETN =1; SHR; ST T2; OUT FACTOR; MUL T1; ST T1
LD GAP; SUB T2; SUB T2; SUB =1; JN s10
LD T0; ADD T0; ADD =1; JMP s101
s10: LD =0
s101: ADD T2; ADD T2; SETN =2; SHR; ADD T1; ST T1
LD =16384; OUT FACTOR; LD REST; STU T2; MUL T2; ST T2; ADD T2
SUB T1; SUB =1; JN s12
LD GAP; ST REST; JMP s7
s11: LD REST; SUB REACHV; JN s12; LD REACHV; ST REST
s12: LD RULE; SUB =1; JP s13; LD ACC; JN s14; LD REST; JMP s15
s13: LD =0; JMP s15
s14: LD =0; SUB REST
s15: OUT WRITE
LD ACC; JN s16
LD LOW; ST T2; LD HIGH; JMP s17
s16: LD HIGH; ST T2; LD LOW
s17: ST T1; SUB OLD1; JN s18; SUB =1; JN s19
s18: LD T1; OUT PROGRAM
s19: JS s21
LD T2; SUB OLD2; JN s20; SUB =1; JN s21
s20: OUT SWITCH SECOND_ON; LD T2; OUT PROGRAM; OUT SWITCH SECOND_OFF
s21: RET
"""
