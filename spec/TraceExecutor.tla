--------------------------- MODULE TraceExecutor ---------------------------
(***************************************************************************)
(* A recorded run, read line by line: each line must be a step of the      *)
(* machines. What a line says is in TraceData.tla, which is written from   *)
(* the record (adapters/verification/trace.py); README.md says how.        *)
(*                                                                         *)
(* A line is the event that the core was given, the moves that it caused,  *)
(* in order, and the effects that it asked for. It is a step if            *)
(*   - its number follows, and what is in hand is handed over next;        *)
(*   - its event may cause such moves (May);                               *)
(*   - each move is a row of the tables, from the state in which the       *)
(*     object was left;                                                    *)
(*   - its effects are the ones that its moves imply;                      *)
(*   - the invariants hold after it.                                       *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets, TLC, Tables, TraceData

VARIABLES
  copy,    \* which copy of the record is read, each by itself; Copies says which line of it was changed, if any
  line,    \* how many lines of it were read
  now,     \* the machines after them, below
  refused  \* what is wrong with the line that is no step; "" while there is none

(* now.intent[i], now.post[p] = [state, epoch], now.settlement[p]: those that are under way; what has ended is gone
   now.ended: posts that ended and whose attempt, if there was one, is not settled
   now.unanswered: posts that ended without an answer, and have had none since
   now.session, now.epoch, now.stop, now.sent, now.quarantined, now.band: states and counts
   now.hand: the post in hand, taken by line now.taken; 0: none
   now.lastPost, now.lastIntent: the highest numbers so far *)

Nothing == [x \in {} |-> 0]

Init ==
  /\ copy \in DOMAIN Copies
  /\ line = 0
  /\ refused = ""
  /\ now = [intent |-> Nothing, post |-> Nothing, settlement |-> Nothing, ended |-> {},
            unanswered |-> {},
            session |-> "disconnected", epoch |-> 0, stop |-> "armed",
            sent |-> 0, quarantined |-> 0, band |-> "idle",
            hand |-> 0, taken |-> 0, lastPost |-> LastPost, lastIntent |-> LastIntent]

-----------------------------------------------------------------------------
\* 1. Moves

Rows == [intent |-> IntentRows, post |-> PostRows, settlement |-> SettlementRows, session |-> SessionRows,
         hard_stop |-> HardStopRows, inflight |-> InflightRows]

Put(f, key, value) == (key :> value) @@ f
Without(f, key) == [k \in DOMAIN f \ {key} |-> f[k]]

\* Where an object is. New ones come with the next number; a post is made by the line that takes it in hand; an attempt
\* is opened, without a move, when its post ends.
StateOf(s, machine, key) ==
  CASE machine = "intent" -> IF key \in DOMAIN s.intent THEN s.intent[key]
                             ELSE IF key = s.lastIntent + 1 THEN "accepted" ELSE "gone"
    [] machine = "post" -> IF key \in DOMAIN s.post THEN s.post[key].state
                           ELSE IF key = s.hand THEN "queued" ELSE "gone"
    [] machine = "settlement" -> IF key \in DOMAIN s.settlement THEN s.settlement[key]
                                 ELSE IF key \in s.ended THEN "unknown" ELSE "gone"
    [] machine = "session" -> s.session
    [] machine = "hard_stop" -> s.stop
    [] machine = "inflight" -> s.band

Sent(event) == IF event = "acquire" THEN 1 ELSE IF event \in {"release", "quarantine"} THEN -1 ELSE 0
Quarantined(event) == IF event = "quarantine" THEN 1 ELSE IF event = "clear" THEN -1 ELSE 0
Band(occupied) ==
  IF occupied = 0 THEN "idle"
  ELSE IF occupied >= Limit THEN "full"
  ELSE IF occupied >= HighWatermark THEN "degraded" ELSE "normal"

\* A move <<machine, key, event, source, target>> is a row, taken from where the object is; a count fits its band.
Legal(s, m) ==
  /\ m[1] \in DOMAIN Rows
  /\ <<m[3], m[4], m[5]>> \in Rows[m[1]]
  /\ StateOf(s, m[1], m[2]) = m[4]
  /\ m[1] = "inflight" =>
       LET sent == s.sent + Sent(m[3])
           quarantined == s.quarantined + Quarantined(m[3])
       IN sent >= 0 /\ quarantined >= 0 /\ sent + quarantined <= Limit /\ m[5] = Band(sent + quarantined)

After(s, m, epoch) ==
  CASE m[1] = "intent" ->
         [s EXCEPT !.intent = IF m[5] \in IntentFinal THEN Without(@, m[2]) ELSE Put(@, m[2], m[5]),
                   !.lastIntent = IF m[4] = "accepted" THEN m[2] ELSE @]
    [] m[1] = "post" ->
         [s EXCEPT !.post = IF m[5] \in PostFinal THEN Without(@, m[2])
                            ELSE Put(@, m[2], [state |-> m[5], epoch |-> epoch]),
                   !.ended = IF m[5] \in PostFinal \ {"unsent"} THEN @ \cup {m[2]} ELSE @,
                   !.unanswered = IF m[5] \in {"timed_out", "disconnected"} THEN @ \cup {m[2]} ELSE @]
    [] m[1] = "settlement" ->
         IF m[5] \in SettlementFinal
         THEN [s EXCEPT !.settlement = Without(@, m[2]), !.ended = @ \ {m[2]}]
         ELSE [s EXCEPT !.settlement = Put(@, m[2], m[5])]
    [] m[1] = "session" -> [s EXCEPT !.session = m[5], !.epoch = IF m[3] = "open" THEN @ + 1 ELSE @]
    [] m[1] = "hard_stop" -> [s EXCEPT !.stop = m[5]]
    [] m[1] = "inflight" ->
         [s EXCEPT !.sent = @ + Sent(m[3]), !.quarantined = @ + Quarantined(m[3]), !.band = m[5]]

RECURSIVE Moved(_, _, _)
Moved(s, moves, epoch) ==
  IF moves = <<>> THEN [legal |-> TRUE, state |-> s]
  ELSE IF Legal(s, Head(moves)) THEN Moved(After(s, Head(moves), epoch), Tail(moves), epoch)
  ELSE [legal |-> FALSE, state |-> s]

-----------------------------------------------------------------------------
\* 2. What each event may cause

\* May says it (Tables.tla); and what is in hand is handed over.
HandOver == {"PostWritten", "SendRefused", "SendBroken"}

\* A post is ended by the answer to it, on the connection that carried it (finding P4); sent by its own hand-over.
Addressed(s, l, m) ==
  m[1] = "post" =>
    CASE l.event \in HandOver -> m[2] = l.post
      [] l.event \in {"ReplyReceived", "ErrorReceived"} ->
           /\ m[2] = l.post
           /\ m[2] \in DOMAIN s.post
           /\ s.post[m[2]].epoch = l.epoch
           /\ m[3] = "ack" => l.says = "Accepted"
      [] OTHER -> TRUE

-----------------------------------------------------------------------------
\* 3. What the moves imply

RECURSIVE Keys(_, _, _)
Keys(moves, machine, targets) ==
  IF moves = <<>> THEN <<>>
  ELSE LET m == Head(moves)
           rest == Keys(Tail(moves), machine, targets)
       IN IF m[1] = machine /\ m[5] \in targets THEN <<m[2]>> \o rest ELSE rest

RECURSIVE Named(_, _)
Named(effects, kind) ==
  IF effects = <<>> THEN <<>>
  ELSE LET rest == Named(Tail(effects), kind)
       IN IF Head(effects)[1] = kind THEN <<Head(effects)[2]>> \o rest ELSE rest

Trips(s, moves) ==
  Cardinality({k \in DOMAIN moves : moves[k][1] = "hard_stop" /\ moves[k][3] = "trip" /\ moves[k][4] = "armed"})

EffectsFit(s, l, after) ==
  LET transmit == Named(l.effects, "Transmit")
      admitted == Named(l.effects, "Admitted")
  IN
  /\ \A k \in DOMAIN l.effects : l.effects[k][1] \in Effects
  /\ Named(l.effects, "IntentEnded") = Keys(l.moves, "intent", IntentFinal)
  /\ Named(l.effects, "IntentUnknown") = Keys(l.moves, "intent", {"unknown"})
  \* What an earlier run left is taken up without telling anybody that its posts ended.
  /\ Named(l.effects, "PostEnded") = IF l.event = "Recovered" THEN <<>> ELSE Keys(l.moves, "post", PostFinal)
  /\ Len(Named(l.effects, "Halted")) = Trips(s, l.moves)
  /\ Len(transmit) <= 1
  /\ transmit # <<>> => l.event = "Tick" /\ Head(transmit) = s.lastPost + 1
  /\ Len(admitted) = IF l.event = "Submit" THEN 1 ELSE 0
  \* A new intent is told by its number; a refused one has none, one that is flattening already has an old one.
  /\ \A k \in DOMAIN l.moves :
       l.moves[k][1] = "intent" /\ l.moves[k][4] = "accepted" => admitted = <<l.moves[k][2]>>
  /\ \A k \in DOMAIN l.effects : l.effects[k][1] = "StrayReply" => l.effects[k][2] = l.post
  \* Only of a post whose nonce is spent the venue's record is asked for (settlement.md, rule 9).
  /\ \A k \in DOMAIN l.effects :
       l.effects[k][1] = "LookUp" => StateOf(after, "settlement", l.effects[k][2]) = "looking_up"

-----------------------------------------------------------------------------
\* 4. A line

\* What an earlier run left is there before the moves of the line that takes it up.
TakenUp(s, l) ==
  [s EXCEPT !.intent = l.intents @@ @,
            !.post = [p \in l.open |-> [state |-> "sent", epoch |-> 0]] @@ @,
            !.ended = @ \cup l.ended]

SlotsMatch(s) == s.sent = Cardinality({p \in DOMAIN s.post : s.post[p].state = "sent"})

\* A late answer ends the quarantine of its own post, and of no other (settlement.md, rule 15).
Late(l) == l.event \in {"ReplyReceived", "ErrorReceived"}
           /\ \E k \in DOMAIN l.moves : l.moves[k][1] = "inflight" /\ l.moves[k][3] = "clear"

Wrong(l) ==
  LET s == TakenUp(now, l)
      moved == Moved(s, l.moves, l.epoch)
  IN
  IF l.seq # line + 1 THEN "its number does not follow"
  ELSE IF l.event \notin DOMAIN May THEN "there is no such event"
  ELSE IF (now.hand # 0) # (l.event \in HandOver) THEN "what is in hand is handed over next, and nothing else is"
  ELSE IF l.event \in HandOver /\ (l.post # now.hand \/ l.cause # now.taken) THEN "another post is in hand"
  ELSE IF l.event \notin HandOver /\ l.cause # -1 THEN "it has no cause in this run"
  ELSE IF l.event \in {"PostWritten", "SendBroken"} /\ l.epoch # now.epoch THEN "that is not the connection"
  ELSE IF \E k \in DOMAIN l.moves : <<l.moves[k][1], l.moves[k][3]>> \notin May[l.event]
       THEN "its event does not cause such a move"
  ELSE IF \E k \in DOMAIN l.moves : ~Addressed(s, l, l.moves[k])
       THEN "it moves a post that it is not about"
  ELSE IF Late(l) /\ l.post \notin now.unanswered THEN "it is the answer to no post in quarantine"
  ELSE IF l.event = "PostWritten" /\ Keys(l.moves, "post", {"sent"}) # <<l.post>> THEN "it does not send its post"
  ELSE IF ~moved.legal THEN "a move is no row of its table, or not from where its object is"
  ELSE IF ~SlotsMatch(moved.state) THEN "InflightMatchesSent"
  ELSE IF ~EffectsFit(s, l, moved.state) THEN "its effects are not those of its moves"
  ELSE ""

Line(n) == IF Copies[copy].at = n THEN Copies[copy].line ELSE Trace[n]

Read ==
  /\ UNCHANGED copy
  /\ line < Len(Trace)
  /\ refused = ""
  /\ LET l == Line(line + 1)
         wrong == Wrong(l)
         after == Moved(TakenUp(now, l), l.moves, l.epoch).state
         transmit == Named(l.effects, "Transmit")
     IN IF wrong # "" THEN refused' = wrong /\ UNCHANGED <<line, now>>
        ELSE /\ line' = line + 1
             /\ UNCHANGED refused
             /\ now' = [after EXCEPT
                  !.unanswered = IF Late(l) THEN @ \ {l.post} ELSE @,
                  !.hand = IF transmit = <<>> THEN 0 ELSE Head(transmit),
                  !.taken = IF transmit = <<>> THEN @ ELSE l.seq,
                  !.lastPost = IF transmit = <<>> THEN @ ELSE Head(transmit)]

\* The end of the record, or its first line that is no step: a rest, so that TLC sees no deadlock.
Rest == (line = Len(Trace) \/ refused # "") /\ UNCHANGED <<copy, line, now, refused>>

Next == Read \/ Rest
Spec == Init /\ [][Next]_<<copy, line, now, refused>>

\* The invariants of the counters, by the names that they have in spec/invariants.py.
InflightNeverNegative == now.sent >= 0 /\ now.quarantined >= 0
InflightNeverAboveLimit == now.sent + now.quarantined <= Limit
InflightMatchesSent == SlotsMatch(now)

EveryLineIsAStep == refused = ""

\* For copies that were tampered with: none of them is read to its end.
EveryCopyIsRefused == ~(line = Len(Trace) /\ refused = "")
=============================================================================
