"""The program of the microprogrammed learner, first part: its data, plans, and the beginning of a request."""

#: What its data memory holds. The tables are where its first words are.
DATA = """
at ACT 0x000            # 256 words of a hidden layer: high half slope, low half activation; two tables
at EXP 0x200            # high halves: the exponentials
at GAPS 0x200           # low halves, 64 words: the gap of each level to the next one up, and bounds
at DOWN 0x240           # low halves, 64 words: a bound, and the gap of each level to the next one down
at D 0x280              # low halves: error of each unit
at Y 0x300              # MAXC+1 words: sums of a layer, and then what ROW multiplies
array UNIT MAXU           # of each unit of the hidden layers: high half slope, low half activation
at LAY 0x3C0            # 16 words of each layer: these are seen here of the layer in work
at BASE 0x3C0
at ROWS 0x3C1
at COLS 0x3C2
at SHIFT 0x3C3
at UNITS 0x3C4
at FIRST 0x3C5          # number of the first unit
at TABX 0x3C6           # its table
at RATE 0x3C7
at EXPO 0x3C8
at BLOCKS 0x3C9
at INPUTS 0x3CA
at K 0x3CB              # shifts of its errors
at UIN 0x3CC            # where the units are whose activations it takes, its units, their errors
at UOUT 0x3CD
at ERRS 0x3CE
at LN 0x3F0             # number of the layer in work
at LASTLN 0x3F1
at KALL 0x3F2           # shifts of the errors so far
at NLAY 0x3F4
at COUNT 0x3F5
at NBATCH 0x3F6
at IMAGES 0x3F7
at RULE 0x3F8
at PAIRS 0x3F9
at BIAS 0x3FA
at REACHV 0x3FB
at TOP 0x3FC
at TOPG 0x3FD
var UTOTAL
var XROWS
var TRAINS
var NIMG
var NB
var LABEL
var T0
var T1
var T2
var T3
var M
var S                   # the largest size, and 1 less of a negative number
var BEST
var RSH
var HALF
var X                   # the input of the row
var XP                  # the factor of an input of 1
var UPTR
var ROWC
var ACC
var OLD1
var OLD2
var LOW
var HIGH
var REST
var GAP
var MV
var SLOW                # not negative: the rule is not mixed, or a weight has two devices
"""

#: The first eight words are a table of what :data:`Op.WAIT` jumps to, by the lowest bits of an operation.
TEXT = """
start: JMP init; JMP init; JMP init; JMP plan; JMP layer; JMP train; JMP classify; JMP rates
init:
LD =1; ST NLAY; LD =0; ST COUNT
idle: WAIT start

# -- a plan ------------------------------------------------------------------
plan:
IN BYTE; ST T2; IN BYTE; ST T3; LD =256; OUT FACTOR; CALL word; ST T1
LD T2; SUB =1; JN badset; SUB =MAXL; JP badset
LD T1; SUB =1; JN badset
LD T3; SUB =24; JP badset
LD T3; SETN =1; SHR; ST T0; LD T3; SUB T0; SUB T0; SUB =1; JP badset
LD T2; ST NLAY; LD T1; ST NBATCH
LD T0; SETN =1; SHR; ST T1; LD T0; SUB T1; SUB T1; ST PAIRS
LD T1; SETN =1; SHR; ST RULE; LD T1; SUB RULE; SUB RULE; ST BIAS
OUT SWITCH COMPLETE_OFF; OUT SWITCH AWAITED_ON; OUT SWITCH PAIRS_OFF
LD PAIRS; SUB =1; JN p1; OUT SWITCH PAIRS_ON
p1: OUT SWITCH FAST_ON; LD PAIRS; ADD RULE; SUB =1; ST SLOW; JN p11; OUT SWITCH FAST_OFF
p11: LD =0; ST COUNT; ST IMAGES; ST UTOTAL; ST TOP
LD =0; ST LN
SETP0 =GAPS; SETC =64
p2: CALL word; STL [0+]; DJNZ p2
LDL GAPS+63; ST REACHV
SETP0 =EXP; SETC =256
p3: CALL word; STU [0+]; DJNZ p3
SETP0 =GAPS; SETC =63
p4: LDL [0+]; SUB =1; JN p5; LD TOP; ADD =1; ST TOP; DJNZ p4
p5: LD TOP; ADD =GAPS; ST TOPG; SETP0 TOPG
LD =64; SUB TOP; ST T0; SETC T0; LD =65535; STL DOWN
p6: STL [0+]; DJNZ p6
SETP0 =DOWN+1; SETP1 =GAPS; SETC =63
p7: LDL [1+]; STL [0+]; DJNZ p7
OUT ANSWER; JMP idle

badset: OUT REFUSE 0
drain: IN REMAINING; SUB =1; JN drained; IN BYTE; JMP drain
drained: OUT ANSWER; JMP idle
badlen: OUT REFUSE 1; JMP drain
badplan: OUT REFUSE 2; JMP drain

layer:
LD COUNT; ADD =1; SUB NLAY; JN long; SUB =1; JP long
LD =3; JMP l1
long: LD =515
l1: ST T0; IN REMAINING; SUB T0; JN badlen; SUB =1; JP badlen
JA l2; JMP badplan
l2: LD LN; OUT LAYER
IN BASE; ST BASE; OUT REGION 0; OUT REGION 1
IN BASE; ST ROWS; ST T1; OUT REGION 0; OUT REGION 1
IN BASE; ST COLS; ST T2; OUT REGION 0; OUT REGION 1
LD COUNT; SUB =1; JN l3
LD T1; SUB XROWS; JN badplan; SUB =1; JP badplan
l3: LD T1; SUB =1; SUB BIAS; JN badplan
LD T2; SETN PAIRS; SHR; ST UNITS
JS l4
LD T2; SUB UNITS; SUB UNITS; SUB =1; JP badplan
l4: LD UTOTAL; ADD UNITS; ST T3; SUB =MAXU+1; JP badplan
LD T2; SUB =MAXC+1; JP badplan
IN BYTE; ST SHIFT
LD UTOTAL; ST FIRST
LD COUNT; STU T0; LD =256; OUT FACTOR; MUL T0; ADD =ACT; ST TABX
IN BYTE; ST RATE
IN BYTE; SUB =128; JN l5; SUB =128; JMP l6
l5: ADD =128
l6: ST EXPO
LD T2; ADD =LANES-1; SETN =LANEBITS; SHR; ST BLOCKS
LD T1; SUB BIAS; ST INPUTS
LD FIRST; ADD =UNIT; ST UOUT; SUB INPUTS; ST UIN; LD FIRST; ADD =D; ST ERRS
LD SHIFT; SUB =32; JP badset
LD EXPO; SUB =64; JP badset; ADD =127; JN badset
LD LN; ST LASTLN; ADD =1; ST LN
LD T3; ST UTOTAL
LD UNITS; ADD BIAS; ST XROWS
LD COUNT; ADD =1; ST COUNT; SUB NLAY; JN l7
OUT SWITCH AWAITED_OFF; OUT SWITCH COMPLETE_ON; OUT ANSWER; JMP idle
l7: SETP0 TABX; SETC =256
l8: IN BYTE; STL [0]; IN BYTE; STU [0+]; DJNZ l8
OUT ANSWER; JMP idle

rates:
SETP0 =Y; SETC =8; LD =0; ST T3
r1: IN BYTE; ST [0+]
IN BYTE; SUB =128; JN r2; SUB =128; JMP r3
r2: ADD =128
r3: ST [0+]; SUB =64; JP r4; ADD =127; JP r5
r4: LD =1; ST T3; OUT REFUSE 0
r5: DJNZ r1
LD T3; SUB =1; JP r7
SETP0 =Y; SETC =3; LD =LAY+7; ST T0
r6: SETP1 T0; LD [0+]; ST [1+]; LD [0+]; ST [1+]; LD T0; ADD =16; ST T0; DJNZ r6
r7: OUT ANSWER; JMP idle

# -- a request of images -----------------------------------------------------
train: LD =1; JMP images
classify: LD =0
images: ST TRAINS
OUT REGION 0; OUT REGION 0; OUT REGION 0; OUT REGION 0
IN BASE; ST NIMG; STU T1
LD =0; OUT LAYER; LD ROWS; ADD =7; SETN =3; SHR; ST NB
LD NB; ADD TRAINS; OUT FACTOR; MUL T1; ST T0
IN REMAINING; SUB T0; JN refuse; SUB =1; JN i1
refuse: OUT ACCEPT 1; JMP idle
i1: OUT ACCEPT 0
LD =65535; OUT REACH
LD NBATCH; SUB =2; JP next
CALL reach
next:
IN REMAINING; SUB =1; JP n1
LD TRAINS; SUB =1; JN idle
LD NIMG; SUB =1; JP n0
LD IMAGES; SUB =1; JP sweep
n0: OUT ANSWER; JMP idle
n1: LD TRAINS; SUB =1; JN n2
IN BYTE; ST LABEL
"""
