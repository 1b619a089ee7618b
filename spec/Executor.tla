------------------------------ MODULE Executor ------------------------------
(***************************************************************************)
(* The executor with its network, its venue, its journal and its crashes. *)
(* How to read it, what it assumes and what it leaves out: README.md.      *)
(*                                                                         *)
(* Every state of a machine changes through a row of Tables.tla, which is  *)
(* written from the tables in machines/; the quoted words are the events   *)
(* and states of those tables.                                             *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets, TLC, Tables

-----------------------------------------------------------------------------
\* 1. Constants: what a configuration chooses

CONSTANTS
  Cancels, ReduceOnly, NewOrders,  \* the intents: numbers from 1 on, in order of submission; a cancel names the
                                   \* order with the highest number below its own
  Limit, HighWatermark,  \* posts that may occupy a slot; from the watermark on new orders wait
  QueueLimit,            \* size of each queue
  Window,                \* how many of the highest nonces the venue remembers (100 in life, protocol.md section 4)
  MaxPosts,              \* room for posts; a run that needs more stops the checker, it is never cut short in silence
  Results,               \* what the venue may make of an order, of {"resting", "filled", "rejected", "refused"};
                         \* "refused" leaves no record (protocol.md section 5)
  Faults, MaxFaults,     \* the kinds of faults that occur, and how many occur at most in a run
  Rules,                 \* the rules of settlement.md that are in force
  Mistakes               \* named mistakes that are put in; empty in life

AllRules == 1..20
Orders == ReduceOnly \cup NewOrders
Intents == Cancels \cup Orders
PostIds == 1..MaxPosts
Priorities == {"cancel", "reduce_only", "new_order"}

\* What each kind of fault does stands at the action that counts it.
AllFaults == {"timeout", "disconnect", "broken", "unsent", "duplicate", "repeat", "gateway", "gate", "loss", "lag",
              "crash", "rekey", "halt", "drain"}
AllMistakes == {"TimeoutFreesSlot", "LateReplyReleasesTwice", "NoQuarantineTime", "FenceWithAnotherKey",
                "OneAbsenceSuffices", "VerdictOfAnEarlierAttempt", "GateRefusesACopy"}

ASSUME Parameters ==
  /\ Cancels \cap Orders = {} /\ ReduceOnly \cap NewOrders = {}
  /\ 1 <= HighWatermark /\ HighWatermark <= Limit
  /\ Results \subseteq {"resting", "filled", "rejected", "refused"} /\ Results # {}
  /\ Faults \subseteq AllFaults /\ Mistakes \subseteq AllMistakes /\ Rules \subseteq AllRules

Has(rule) == rule \in Rules
Mistaken(mistake) == mistake \in Mistakes

Max(numbers) == CHOOSE n \in numbers : \A m \in numbers : m <= n
Min(numbers) == CHOOSE n \in numbers : \A m \in numbers : n <= m
PriorityOf(i) == IF i \in Cancels THEN "cancel" ELSE IF i \in ReduceOnly THEN "reduce_only" ELSE "new_order"
Target(c) == Max({i \in Orders : i < c})

\* The cloid of an order is its own (rule 13).
Cloid(i) == IF Has(13) THEN i ELSE Min(Orders)

-----------------------------------------------------------------------------
\* 2. Variables

VARIABLES
  core,     \* the executor's memory, below
  session,  \* [state, epoch]: the connection
  stop,     \* state of the hard stop
  network,  \* [frames, replies]: posts on their way to the venue, and replies [post, says] on their way back. Both
            \* are sets: anything may overtake anything. A frame that is never taken out is a lost one.
  venue,    \* what the venue knows, below
  faults    \* how many faults have occurred

vars == <<core, session, stop, network, venue, faults>>

(* core.intent[i]: state; outcomes reported to its owner; proof (the fate of its last attempt was proven otherwise
   than by its reply in time); lost, wanted (a cancel for it was submitted) and targetSettled as in machines/intent.py
   core.queue[priority]: intents in their order
   core.post[p]: its item (0: none), the post that it fences (0: none), state, epoch, quarantined, settlement (the
   state of its attempt, "none" if there is none), and as evidence how often it ended and gave its slot back
   core.slots: [count, quarantined, state], machines/inflight.py
   core.last: the last post id; core.past: the last one of earlier runs; core.foreign: the last one signed by an
   earlier key
   core.unsaved: what a crash would undo, without rules 1 and 2

   venue.used: the Window highest nonces used, per key; venue.counted: the posts that count as inflight
   venue.ran[i]: how often it had an effect; venue.book[i]: what became of an order; venue.seen[i]: its record, as a
   look-up sees it; venue.expired: posts whose expiry has passed on the venue's clock *)

NoIntent == [state |-> "accepted", outcomes |-> 0, proof |-> FALSE, lost |-> FALSE, wanted |-> FALSE,
             targetSettled |-> FALSE]
NoPost == [item |-> 0, fences |-> 0, state |-> "queued", epoch |-> 0, quarantined |-> FALSE, settlement |-> "none",
           ends |-> 0, frees |-> 0]

Init ==
  /\ core = [intent |-> [i \in Intents |-> NoIntent],
             queue |-> [q \in Priorities |-> <<>>],
             post |-> [p \in PostIds |-> NoPost],
             slots |-> [count |-> 0, quarantined |-> 0, state |-> "idle"],
             last |-> 0, past |-> 0, foreign |-> 0, unsaved |-> {}]
  /\ session = [state |-> "disconnected", epoch |-> 0]
  /\ stop = "armed"
  /\ network = [frames |-> {}, replies |-> {}]
  /\ venue = [used |-> {}, counted |-> {}, ran |-> [i \in Intents |-> 0], book |-> [i \in Orders |-> "none"],
              seen |-> [i \in Orders |-> "none"], expired |-> {}]
  /\ faults = 0

\* A fault of a kind occurs: it is one of this configuration's, and there are not too many.
Fault(kind) == kind \in Faults /\ faults < MaxFaults /\ faults' = faults + 1
NoFault == UNCHANGED faults

-----------------------------------------------------------------------------
\* 3. Moving by the tables

MovesOf(rows) ==
  [move \in {<<row[1], row[2]>> : row \in rows} |->
     CHOOSE target \in {row[3] : row \in {r \in rows : <<r[1], r[2]>> = move}} : TRUE]

PostMove == MovesOf(PostRows)
IntentMove == MovesOf(IntentRows)
SettlementMove == MovesOf(SettlementRows)
SessionMove == MovesOf(SessionRows)
HardStopMove == MovesOf(HardStopRows)
InflightMove == [row \in InflightRows |-> row[3]]

\* An event without a row stops the checker: the model would do what the code refuses to do.
Move(machine, moves, move) == moves[move]
\* A test puts this in its place, to see that every row is taken somewhere.
MoveAndTell(machine, moves, move) == IF PrintT(<<machine>> \o move) THEN moves[move] ELSE moves[move]

PostAfter(event, state) == Move("post", PostMove, <<event, state>>)
IntentAfter(event, state) == Move("intent", IntentMove, <<event, state>>)
SettlementAfter(event, state) == Move("settlement", SettlementMove, <<event, state>>)
SessionAfter(event, state) == Move("session", SessionMove, <<event, state>>)
HardStopAfter(event, state) == Move("hard_stop", HardStopMove, <<event, state>>)

SessionCan(event) == <<event, session.state>> \in DOMAIN SessionMove

Band(occupied) ==
  IF occupied = 0 THEN "idle"
  ELSE IF occupied >= Limit THEN "full"
  ELSE IF occupied >= HighWatermark THEN "degraded" ELSE "normal"

\* The guards of the inflight table say that the band fits the count; so the row that fits is the one taken.
SlotsAfter(event, slots, count, quarantined) ==
  [count |-> count, quarantined |-> quarantined,
   state |-> Move("inflight", InflightMove, <<event, slots.state, Band(count + quarantined)>>)]

AcquireSlot(s) == SlotsAfter("acquire", s, s.count + 1, s.quarantined)
ReleaseSlot(s) == SlotsAfter("release", s, s.count - 1, s.quarantined)
QuarantineSlot(s) == SlotsAfter("quarantine", s, s.count - 1, s.quarantined + 1)
ClearSlot(s) == SlotsAfter("clear", s, s.count, s.quarantined - 1)

-----------------------------------------------------------------------------
\* 4. The core's own steps: functions from core to core, as the methods of machines/executor.py

IsOrder(i) == i \in Orders
IsFence(x, p) == x.post[p].fences # 0
ItemOf(x, p) == IF IsFence(x, p) THEN x.post[x.post[p].fences].item ELSE x.post[p].item
IsOpen(x, p) == x.post[p].settlement \in SettlementStates \ SettlementFinal
Earlier(x, p) == p <= x.past
AttemptsOf(x, i) == {p \in 1..x.last : x.post[p].item = i}
Occupied(x) == x.slots.count + x.slots.quarantined
Ambiguous(x, p) == x.post[p].state \in {"timed_out", "disconnected"}

\* A fence has the nonce of the post that it fences (rule 3); any other has a higher one than all before it.
Nonce(x, p) == IF IsFence(x, p) /\ Has(3) THEN x.post[p].fences ELSE p
KeyOf(x, p) == IF x.foreign = 0 \/ p <= x.foreign THEN 1 ELSE 2

MoveIntent(x, i, event) == [x EXCEPT !.intent[i].state = IntentAfter(event, @)]

\* Rule 2: the outcome is durable before it is reported.
Report(x, i, proof) ==
  [x EXCEPT !.intent[i].outcomes = @ + 1,
            !.intent[i].proof = @ \/ proof,
            !.unsaved = IF Has(2) THEN @ ELSE @ \cup {<<"outcome", i>>}]

RECURSIVE Insert(_, _)
Insert(queue, i) ==
  IF queue = <<>> THEN <<i>>
  ELSE IF i < Head(queue) THEN <<i>> \o queue
  ELSE <<Head(queue)>> \o Insert(Tail(queue), i)

\* Rule 17: back to the place of its number.
Requeue(x, i) == [x EXCEPT !.queue[PriorityOf(i)] = IF Has(17) THEN Insert(@, i) ELSE Append(@, i)]
Return(x, i, proof) == Requeue([MoveIntent(x, i, "return_") EXCEPT !.intent[i].proof = @ \/ proof], i)

\* The fate of an order is known: cancels that waited for it go out again, or end (rule 19).
RECURSIVE Wake(_, _, _)
Wake(x, waiting, order) ==
  IF waiting = {} THEN x
  ELSE LET c == Min(waiting)
           again == x.intent[order].state = "resting" \/ x.intent[c].lost
           woken == IF again THEN Return(x, c, FALSE) ELSE Report(MoveIntent(x, c, "reject"), c, FALSE)
       IN Wake(woken, waiting \ {c}, order)

WaitingFor(x, i) == {c \in Cancels : x.intent[c].state = "waiting" /\ Target(c) = i}

End(x, i, event, proof) ==
  LET ended == Report(MoveIntent(x, i, event), i, proof)
  IN IF IsOrder(i) THEN Wake(ended, WaitingFor(ended, i), i) ELSE ended

\* Rule 15: settlement does not end the quarantine.
Settle(x, p, event) ==
  LET after == [x EXCEPT !.post[p].settlement = SettlementAfter(event, @)]
  IN IF ~Has(15) /\ ~IsOpen(after, p) /\ x.post[p].quarantined
     THEN [after EXCEPT !.post[p].quarantined = FALSE, !.slots = ClearSlot(@)]
     ELSE after

\* From here on the venue's record counts (rules 5, 6, 9).
Spent(x, p) == IF x.post[p].settlement = "looking_up" THEN x ELSE Settle(x, p, "spend")

FenceLost(x, f) ==
  LET p == x.post[f].fences IN IF x.post[p].settlement = "fencing" THEN Settle(x, p, "fence_lost") ELSE x

\* An order is proven never to have run. Reduce-only ones are sent again, unless they are stale or have a cancel.
NeverRan(x, p, proof) ==
  LET i == x.post[p].item
      again == i \in ReduceOnly /\ ~Earlier(x, p) /\ (~x.intent[i].wanted \/ ~Has(19))
  IN IF again THEN Return(x, i, proof) ELSE End(x, i, "abandon", proof)

\* Rule 4. Without it, the winning fence says no more than that the nonce is spent.
FenceWon(x, p) == IF Has(4) THEN NeverRan(Settle(x, p, "fence_won"), p, TRUE) ELSE Spent(x, p)

EndPost(x, p, event) ==
  LET answered == event \in {"ack", "fail"}
      frees == answered \/ (event = "time_out" /\ Mistaken("TimeoutFreesSlot"))
  IN [x EXCEPT !.post[p] = [@ EXCEPT !.state = PostAfter(event, @), !.quarantined = ~frees, !.ends = @ + 1,
                                     !.frees = @ + 1],
               !.slots = IF frees THEN ReleaseSlot(@) ELSE QuarantineSlot(@)]

\* The stream has ended the intent, and its post ends ambiguous: nothing happens (rule 10).
Reopen(x, p, i) ==
  IF Has(10) \/ ~IsOrder(i) THEN x
  ELSE [x EXCEPT !.intent[i].state = "unknown", !.post[p].settlement = "unknown"]

\* A post ended without proof: a cancel goes out again (rule 19), the fate of an order has to be found out (rule 20).
Lose(x, p) ==
  LET i == x.post[p].item
  IN IF IsFence(x, p) THEN FenceLost(x, p)
     ELSE IF x.intent[i].state # "posted" THEN Reopen(x, p, i)
     ELSE IF i \in Cancels THEN Return([x EXCEPT !.intent[i].lost = TRUE], i, FALSE)
     ELSE IF ~Has(20) THEN Return(x, i, FALSE)
     ELSE [MoveIntent(x, i, "lose") EXCEPT !.post[p].settlement = "unknown"]

RECURSIVE Disconnected(_, _)
Disconnected(x, open) ==
  IF open = {} THEN x
  ELSE LET p == Min(open) IN Disconnected(Lose(EndPost(x, p, "disconnect"), p), open \ {p})

SentPosts(x) == {p \in 1..x.last : x.post[p].state = "sent"}

\* The next post is handed to the socket: registered, counted and written in one step (finding P1). Rule 1: it was
\* journalled before.
Written(x, item, fences) ==
  LET p == x.last + 1
  IN [x EXCEPT !.last = p,
               !.post[p] = [NoPost EXCEPT !.item = item, !.fences = fences, !.state = PostAfter("send", @),
                                          !.epoch = session.epoch],
               !.slots = AcquireSlot(@),
               !.unsaved = IF Has(1) THEN @ ELSE @ \cup {<<"post", p>>}]

Carry(x, i) ==
  LET settled == i \in Cancels /\ x.intent[Target(i)].state \notin {"posted", "unknown"}
      taken == [MoveIntent(x, i, "post") EXCEPT !.queue[PriorityOf(i)] = Tail(@), !.intent[i].proof = FALSE,
                                                !.intent[i].targetSettled = settled]
  IN Written(taken, i, 0)

RECURSIVE Dropped(_, _)
Dropped(x, items) ==
  IF items = {} THEN x
  ELSE LET i == Min(items) IN Dropped(End(x, i, "drop", FALSE), items \ {i})

QueuedIn(x, q) == {i \in Intents : PriorityOf(i) = q /\ x.intent[i].state = "queued"}
DropNewOrders(x) == Dropped([x EXCEPT !.queue["new_order"] = <<>>], QueuedIn(x, "new_order"))

RECURSIVE Only(_, _)
Only(queue, items) ==
  IF queue = <<>> THEN <<>>
  ELSE (IF Head(queue) \in items THEN <<Head(queue)>> ELSE <<>>) \o Only(Tail(queue), items)

\* Shut down: what waits ends; what may have run is left for the next run to settle.
Shut(x) ==
  LET lost == {c \in Cancels : x.intent[c].lost}
      left == [x EXCEPT !.queue = [q \in Priorities |-> Only(x.queue[q], lost)]]
  IN Dropped(left, {i \in Intents : x.intent[i].state \in {"queued", "waiting"}} \ lost)

-----------------------------------------------------------------------------
\* 5. What replies, look-ups and the stream tell the core

\* What the venue says of an order: in a reply, and in a record.
EventOf(says) ==
  CASE says \in {"resting", "open"} -> "rest"
    [] says = "filled" -> "fill"
    [] says \in {"rejected", "refused"} -> "reject"
    [] says = "canceled" -> "cancel"

Taken == {"resting", "filled", "rejected", "canceled", "missing", "noop"}  \* status ok (protocol.md section 2)
SpentNonce == {"duplicate", "too_low"}

\* What the venue tells of an order, once it tells: a refusal before validation leaves no record (protocol.md section 5).
Shown(i) == IF venue.book[i] = "refused" THEN "none" ELSE venue.book[i]

\* The record that a look-up finds; with one cloid for several orders it is the latest's (rule 13, protocol.md section 6).
Record(i) ==
  LET same == {j \in Orders : Cloid(j) = Cloid(i) /\ venue.seen[j] # "none"}
  IN IF same = {} THEN "none" ELSE venue.seen[Max(same)]

\* A fence was answered, in time or late (rules 4 to 6).
FenceAnswered(x, f, says) ==
  LET p == x.post[f].fences
      i == x.post[p].item
  IN IF IsOpen(x, p) THEN
       IF says = "noop" THEN FenceWon(x, p)
       ELSE IF says = "too_low" /\ ~Has(6) THEN NeverRan(Settle(x, p, "fence_won"), p, TRUE)
       ELSE IF says = "duplicate" /\ ~Has(5) THEN
         \* "It was processed; and if it left no record, it was rejected."
         End(Settle(Spent(x, p), p, "find"), i, IF Record(i) = "none" THEN "reject" ELSE EventOf(Record(i)), TRUE)
       ELSE IF says \in SpentNonce THEN Spent(x, p)
       ELSE x
     ELSE IF says = "noop" /\ Mistaken("VerdictOfAnEarlierAttempt") /\ x.intent[i].state = "unknown"
     THEN End(x, i, "abandon", TRUE)
     ELSE x

\* The venue says "never placed, already canceled, or filled" (rule 19); an earlier attempt may have done it (rule 12).
Missing(x, p, c) ==
  LET order == x.intent[Target(c)].state
      overtook == Has(19) /\ ~x.intent[c].targetSettled
  IN IF overtook /\ order = "resting" THEN Return(x, c, FALSE)
     ELSE IF overtook /\ order \in {"posted", "unknown"} THEN MoveIntent(x, c, "wait")
     ELSE IF ~x.intent[c].lost \/ ~Has(12) \/ ~Has(19) THEN End(x, c, "reject", FALSE)
     ELSE Spent([MoveIntent(x, c, "lose") EXCEPT !.post[p].settlement = "unknown"], p)

\* A reply to an open post ends it.
InTime(before, p, says) ==
  LET x == EndPost(before, p, IF says \in Taken THEN "ack" ELSE "fail")
      i == before.post[p].item
      Unclear == IF x.intent[i].state = "posted" /\ IsOrder(i) /\ says \in SpentNonce /\ Has(20)
                 THEN Spent(Lose(x, p), p) ELSE Lose(x, p)
      Refused == IF x.intent[i].state = "posted" THEN End(x, i, "reject", FALSE) ELSE x
  IN IF IsFence(x, p) THEN IF says \in {"noop"} \cup SpentNonce THEN FenceAnswered(x, p, says) ELSE FenceLost(x, p)
     ELSE IF says \in SpentNonce THEN IF Has(7) THEN Unclear ELSE Refused
     ELSE IF says = "error" THEN IF Has(8) THEN Unclear ELSE Refused
     ELSE IF x.intent[i].state # "posted" THEN x  \* the stream was first: compared only (rule 10)
     ELSE IF says = "gate" THEN IF i \in Cancels THEN Return(x, i, FALSE) ELSE NeverRan(x, p, FALSE)
     ELSE IF says = "missing" THEN Missing(x, p, i)
     ELSE End(x, i, EventOf(says), FALSE)

\* A reply to a post that has ended frees its slot if that was still quarantined, and may decide its attempt (rule 10).
Late(before, p, says) ==
  LET post == before.post[p]
      i == post.item
      twice == Mistaken("LateReplyReleasesTwice") /\ before.slots.count > 0
      cleared == IF post.quarantined
                 THEN [before EXCEPT !.post[p].quarantined = FALSE, !.slots = ClearSlot(@)] ELSE before
      x == IF twice THEN [cleared EXCEPT !.post[p].frees = @ + 1, !.slots = ReleaseSlot(@)] ELSE cleared
      Told(event) == End(Settle(x, p, "answer"), i, event, TRUE)
  IN IF IsFence(x, p) THEN IF post.quarantined THEN FenceAnswered(x, p, says) ELSE x
     ELSE IF i \in Cancels THEN x
     ELSE IF IsOpen(x, p) THEN
       IF says \in SpentNonce THEN IF Has(7) THEN Spent(x, p) ELSE Told("reject")
       ELSE IF says = "error" THEN IF Has(8) THEN x ELSE Told("reject")
       ELSE IF says = "gate" THEN NeverRan(Settle(x, p, "refuse"), p, TRUE)
       ELSE Told(EventOf(says))
     ELSE IF ~Has(10) /\ x.intent[i].outcomes > 0 /\ says \in Results
     THEN Report([x EXCEPT !.intent[i].state = IntentAfter(EventOf(says), "posted")], i, TRUE)
     ELSE x

\* The attempt that an unknown intent is with.
AttemptOf(x, i) == Max({p \in AttemptsOf(x, i) : IsOpen(x, p)})

-----------------------------------------------------------------------------
\* 6. The strategy

\* Rule 18: what is on its way counts, so that its return finds room.
Held(q) ==
  IF q = "new_order" \/ ~Has(18) THEN Len(core.queue[q])
  ELSE Cardinality({i \in Intents : PriorityOf(i) = q /\ core.intent[i].state \in {"queued", "posted", "unknown", "waiting"}})

NewOrdersPass == session.state = "ready" /\ stop = "armed"

InTurn(i) ==
  /\ core.intent[i].state = "accepted"
  /\ \A j \in Intents : j < i /\ PriorityOf(j) = PriorityOf(i) => core.intent[j].state # "accepted"
  /\ i \in Cancels => core.intent[Target(i)].state # "accepted"
  /\ session.epoch > 0 /\ session.state \notin {"draining", "closed"}

\* INTENT enqueue: the admissions that accept; a refused submit changes nothing, and may be tried again.
Enqueue(i) ==
  /\ InTurn(i)
  /\ i \in Cancels => core.intent[Target(i)].state # "queued"
  /\ Held(PriorityOf(i)) < QueueLimit
  /\ i \in NewOrders => NewOrdersPass /\ Occupied(core) < Limit
  /\ LET queued == [MoveIntent(core, i, "enqueue") EXCEPT !.queue[PriorityOf(i)] = Append(@, i)]
     IN core' = IF i \in Cancels THEN [queued EXCEPT !.intent[Target(i)].wanted = TRUE] ELSE queued
  /\ NoFault /\ UNCHANGED <<session, stop, network, venue>>

\* INTENT cancel and drop: an order that waits here is canceled here (rule 19).
Cancel(c) ==
  /\ InTurn(c)
  /\ c \in Cancels /\ core.intent[Target(c)].state = "queued"
  /\ LET i == Target(c)
         taken == [core EXCEPT !.queue[PriorityOf(i)] = Only(@, Intents \ {i})]
     IN core' = End(End(taken, i, "drop", FALSE), c, "cancel", FALSE)
  /\ NoFault /\ UNCHANGED <<session, stop, network, venue>>

-----------------------------------------------------------------------------
\* 7. The executor: sending (findings B1, B5, B6; X1)

Connected == session.state \in {"syncing", "ready", "draining"}
SlotFree == Occupied(core) < Limit

\* Rule 18: the watermark counts sent and quarantined, and fences of new orders obey it too.
BelowWatermark == (IF Has(18) THEN Occupied(core) ELSE core.slots.count) < HighWatermark

\* Rules 3 and 11: a fence proves something only if it has the key of its post.
Fenceable(p) == KeyOf(core, p) = KeyOf(core, core.last + 1) \/ Mistaken("FenceWithAnotherKey")

WantFence ==
  {p \in 1..core.last : /\ core.post[p].settlement = "unknown" /\ Fenceable(p)
                        /\ PriorityOf(core.post[p].item) = "new_order" /\ Has(18) => BelowWatermark}

FenceIsNext == core.queue["cancel"] = <<>> /\ WantFence # {}

\* The head of the first queue that may send, as a set of at most one.
NextItem ==
  IF ~Connected \/ ~SlotFree \/ FenceIsNext THEN {}
  ELSE IF core.queue["cancel"] # <<>> THEN {Head(core.queue["cancel"])}
  ELSE IF core.queue["reduce_only"] # <<>> THEN {Head(core.queue["reduce_only"])}
  ELSE IF core.queue["new_order"] # <<>> /\ NewOrdersPass /\ BelowWatermark THEN {Head(core.queue["new_order"])}
  ELSE {}

Wire(p) ==
  /\ network' = [network EXCEPT !.frames = @ \cup {p}]
  /\ venue' = [venue EXCEPT !.counted = @ \cup {p}]

\* POST send, INTENT post, INFLIGHT acquire.
Send(i) ==
  /\ core.intent[i].state = "queued" /\ i \in NextItem
  /\ core' = Carry(core, i)
  /\ Wire(core.last + 1)
  /\ NoFault /\ UNCHANGED <<session, stop>>

\* POST refuse: the hand-over fails before any byte; the item keeps its place, a new order ends (finding P7).
Refuse(i) ==
  /\ core.intent[i].state = "queued" /\ Fault("unsent") /\ i \in NextItem
  /\ LET p == core.last + 1
         unsent == [core EXCEPT !.last = p, !.post[p] = [NoPost EXCEPT !.item = i, !.ends = 1,
                                                                       !.state = PostAfter("refuse", @)]]
     IN core' = IF i \in NewOrders
                THEN End([unsent EXCEPT !.queue["new_order"] = Tail(@)], i, "drop", FALSE) ELSE unsent
  /\ UNCHANGED <<session, stop, network, venue>>

\* POST send and disconnect: the hand-over breaks off midway, and the frame may be out (finding X1).
Break(i) ==
  /\ core.intent[i].state = "queued" /\ Fault("broken") /\ i \in NextItem
  /\ LET p == core.last + 1 IN core' = Lose(EndPost(Carry(core, i), p, "disconnect"), p)
  /\ Wire(core.last + 1)
  /\ UNCHANGED <<session, stop>>

\* SETTLEMENT fence, POST send: a post like any other (rule 3); after cancels and before orders.
Fence(p) ==
  /\ core.post[p].settlement = "unknown" /\ Connected /\ SlotFree /\ FenceIsNext /\ p = Min(WantFence)
  /\ core' = Written(Settle(core, p, "fence"), 0, p)
  /\ Wire(core.last + 1)
  /\ NoFault /\ UNCHANGED <<session, stop>>

\* Without rule 1 or 2: the record reaches the journal after the fact.
Records == ({"post"} \X PostIds) \cup ({"outcome"} \X Intents)
Journal(record) ==
  /\ record \in core.unsaved
  /\ core' = [core EXCEPT !.unsaved = @ \ {record}]
  /\ NoFault /\ UNCHANGED <<session, stop, network, venue>>

-----------------------------------------------------------------------------
\* 8. The executor: posts that end

\* The id on the wire. Rule 14: it never repeats; without it, each connection counts from 1 on.
WireId(p) == IF Has(14) THEN p ELSE Cardinality({q \in 1..p : core.post[q].epoch = core.post[p].epoch})

\* The post that a reply is taken for. Rule 14: the one that its connection carried; without it, the newest of its id.
Addressee(reply) ==
  IF Has(14) THEN reply.post ELSE Max({p \in 1..core.last : WireId(p) = WireId(reply.post)})

\* A reply is taken from the network; that it stays there and comes again is a fault (finding P2).
Arrives(reply) ==
  /\ \/ network' = [network EXCEPT !.replies = @ \ {reply}] /\ NoFault
     \/ network' = network /\ Fault("repeat")
  /\ UNCHANGED <<session, stop, venue>>

IsSent(p) == core.post[p].state = "sent"
RepliesTo(p) == {reply \in network.replies : reply.post = p}

\* POST ack: the venue took the action.
Ack(p) ==
  \E reply \in RepliesTo(p) :
    /\ IsSent(Addressee(reply)) /\ reply.says \in Taken
    /\ core' = InTime(core, Addressee(reply), reply.says) /\ Arrives(reply)

\* POST fail: it answered with an error.
Fail(p) ==
  \E reply \in RepliesTo(p) :
    /\ IsSent(Addressee(reply)) /\ reply.says \notin Taken
    /\ core' = InTime(core, Addressee(reply), reply.says) /\ Arrives(reply)

\* SETTLEMENT answer, refuse, fence_won or spend; INFLIGHT clear: it answered after the post's end.
Answer(p) ==
  \E reply \in RepliesTo(p) :
    /\ ~IsSent(Addressee(reply))
    /\ core' = Late(core, Addressee(reply), reply.says) /\ Arrives(reply)

\* POST time_out: the reply takes too long; whether the frame arrives, and when, is open.
TimeOut(p) ==
  /\ IsSent(p) /\ Fault("timeout")
  /\ core' = Lose(EndPost(core, p, "time_out"), p)
  /\ UNCHANGED <<session, stop, network, venue>>

\* INFLIGHT clear: the quarantine time is over. Rule 16: the venue has forgotten the post by then.
Clear(p) ==
  /\ core.post[p].quarantined /\ ~Mistaken("NoQuarantineTime")
  /\ core' = [core EXCEPT !.post[p].quarantined = FALSE, !.slots = ClearSlot(@)]
  /\ venue' = IF Has(16) THEN [venue EXCEPT !.counted = @ \ {p}] ELSE venue
  /\ NoFault /\ UNCHANGED <<session, stop, network>>

-----------------------------------------------------------------------------
\* 9. The executor: settlement

\* Rule 9: look-ups count only once the nonce is spent, ...
LooksUp(p) == core.post[p].settlement \in (IF Has(9) THEN {"looking_up"} ELSE {"unknown", "fencing", "looking_up"})
\* ... and absence only when it was seen for longer than the venue's record lags behind.
LagHasPassed(i) == venue.seen[i] = Shown(i) \/ Mistaken("OneAbsenceSuffices")

About(i) == IF i \in Cancels THEN Target(i) ELSE i

\* SETTLEMENT find: a record decides at once; of a cancel, only if its order is off the book.
Find(p) ==
  /\ LooksUp(p)
  /\ LET i == core.post[p].item
         record == Record(About(i))
         event == IF i \in Cancels /\ record # "canceled" THEN "reject" ELSE EventOf(record)
     IN /\ record \notin (IF i \in Cancels THEN {"none", "open"} ELSE {"none"})
        /\ core' = End(Settle(Spent(core, p), p, "find"), i, event, TRUE)
  /\ NoFault /\ UNCHANGED <<session, stop, network, venue>>

\* SETTLEMENT miss: there is no record, and there never will be one.
Miss(p) ==
  /\ LooksUp(p)
  /\ LET i == core.post[p].item
         missed == Settle(Spent(core, p), p, "miss")
     IN /\ Record(About(i)) \in (IF i \in Cancels THEN {"none", "open"} ELSE {"none"})
        /\ LagHasPassed(About(i))
        /\ core' = NeverRan(missed, p, TRUE)
  /\ NoFault /\ UNCHANGED <<session, stop, network, venue>>

\* SETTLEMENT spend: a fence can prove nothing, and the expiry has surely passed (rule 11).
Spend(p) ==
  /\ core.post[p].settlement = "unknown" /\ ~Fenceable(p)
  /\ Has(11) => p \in venue.expired
  /\ core' = Spent(core, p)
  /\ NoFault /\ UNCHANGED <<session, stop, network, venue>>

\* SETTLEMENT find: the order stream tells of an order; or never does, or after everyone else (rule 10, finding X7).
OrderSeen(i) ==
  /\ Shown(i) # "none" /\ core.intent[i].state \in {"posted", "unknown"}
  /\ LET told == End(core, i, EventOf(Shown(i)), TRUE)
     IN core' = IF core.intent[i].state = "posted" THEN told ELSE Settle(told, AttemptOf(core, i), "find")
  /\ NoFault /\ UNCHANGED <<session, stop, network, venue>>

-----------------------------------------------------------------------------
\* 10. The connection, the hard stop, the end of a run

Session(event) == SessionCan(event) /\ session' = [session EXCEPT !.state = SessionAfter(event, @)]

Connect == Session("connect") /\ NoFault /\ UNCHANGED <<core, stop, network, venue>>

Open ==
  /\ SessionCan("open")
  /\ session' = [state |-> SessionAfter("open", session.state), epoch |-> session.epoch + 1]
  /\ NoFault /\ UNCHANGED <<core, stop, network, venue>>

\* New orders pass once every post of an earlier run is settled; clock, markets and key are taken as known.
Synced ==
  /\ \A p \in 1..core.past : ~IsOpen(core, p)
  /\ Session("synced") /\ NoFault /\ UNCHANGED <<core, stop, network, venue>>

\* SESSION lose, POST disconnect: all open posts end in one place (finding D1).
Disconnect ==
  /\ Fault("disconnect") /\ Session("lose")
  /\ LET lost == Disconnected(core, SentPosts(core))
     IN core' = IF session'.state = "closed" THEN Shut(lost) ELSE lost
  /\ UNCHANGED <<stop, network, venue>>

Trip ==
  /\ "halt" \in Faults /\ stop' = HardStopAfter("trip", stop) /\ core' = DropNewOrders(core)
  /\ NoFault /\ UNCHANGED <<session, network, venue>>

Reset ==
  /\ <<"reset", stop>> \in DOMAIN HardStopMove /\ stop' = HardStopAfter("reset", stop)
  /\ NoFault /\ UNCHANGED <<core, session, network, venue>>

Drain ==
  /\ Fault("drain") /\ Session("drain")
  /\ core' = IF session'.state = "closed" THEN Shut(core) ELSE DropNewOrders(core)
  /\ UNCHANGED <<stop, network, venue>>

Close ==
  /\ Session("close") /\ core' = Shut(Disconnected(core, SentPosts(core)))
  /\ NoFault /\ UNCHANGED <<stop, network, venue>>

(* What the next run takes over from the journal (rules 1, 2, 15): every post without an ending is ambiguous and
   quarantined again; orders stay with the last post that carried them; a cancel that was ever sent goes out again;
   everything else ends, because a stale order is not sent by itself. *)
Recovered(x) ==
  LET Forgotten(p) == <<"post", p>> \in x.unsaved
      Undone(i) == <<"outcome", i>> \in x.unsaved
      Held1(p) == x.post[p].state = "sent" \/ x.post[p].quarantined
      keeps == {p \in 1..x.last : Held1(p) /\ ~Forgotten(p) /\ (Has(15) \/ ~IsFence(x, p))}
      Carried(i) == AttemptsOf(x, i) # {} /\ ~Forgotten(Max(AttemptsOf(x, i)))
      Unsettled(i) == \/ x.intent[i].state \in {"posted", "unknown", "waiting"} /\ Carried(i)
                      \/ Undone(i)
      Lost(i) == i \in Cancels /\ Carried(i) /\ (x.intent[i].state \in {"queued", "posted", "unknown", "waiting"} \/ Undone(i))
      Post(p) ==
        LET post == x.post[p]
            i == post.item
            sent == post.state = "sent"
        IN IF Forgotten(p) THEN [NoPost EXCEPT !.epoch = post.epoch]
           ELSE [post EXCEPT !.state = IF sent THEN PostAfter("disconnect", @) ELSE @,
                             !.ends = IF sent THEN @ + 1 ELSE @,
                             !.frees = IF sent THEN @ + 1 ELSE @,
                             !.quarantined = p \in keeps,
                             !.settlement =
                               IF i \in Orders /\ Unsettled(i) /\ p = Max(AttemptsOf(x, i)) THEN "unknown"
                               ELSE IF i \in Cancels THEN "none" ELSE @]
      Intent(i) ==
        LET intent == x.intent[i]
        IN IF Lost(i) /\ Has(12) THEN [intent EXCEPT !.state = "queued", !.lost = TRUE]
           ELSE IF i \in Orders /\ Unsettled(i) THEN [intent EXCEPT !.state = "unknown"]
           ELSE IF intent.state \in {"queued", "posted", "unknown", "waiting"} THEN [intent EXCEPT !.state = "queued"]
           ELSE intent
      quarantined == Cardinality(keeps)
      taken == [x EXCEPT !.post = [p \in PostIds |-> Post(p)],
                         !.intent = [i \in Intents |-> Intent(i)],
                         !.slots = [count |-> 0, quarantined |-> quarantined, state |-> Band(quarantined)],
                         !.past = x.last, !.unsaved = {}]
      waits == {c \in Cancels : Lost(c) /\ Has(12)}
      ends == {i \in Intents : taken.intent[i].state = "queued"} \ waits
      RECURSIVE Sorted(_)
      Sorted(items) == IF items = {} THEN <<>> ELSE <<Min(items)>> \o Sorted(items \ {Min(items)})
  IN Dropped([taken EXCEPT !.queue = [q \in Priorities |-> IF q = "cancel" THEN Sorted(waits) ELSE <<>>]], ends)

\* The next run, with another key if that occurs.
Begin(x) ==
  /\ session' = [session EXCEPT !.state = "disconnected"]
  /\ stop' = "armed"
  /\ network' = [network EXCEPT !.replies = {}]
  /\ core' = Recovered(x)
  /\ UNCHANGED venue

Crash == Fault("crash") /\ session.epoch > 0 /\ Begin(core)
CrashAndNewKey == /\ "rekey" \in Faults /\ core.foreign = 0 /\ Fault("crash") /\ session.epoch > 0
                  /\ Begin([core EXCEPT !.foreign = core.last])
Restart == session.state = "closed" /\ NoFault /\ Begin(core)

-----------------------------------------------------------------------------
\* 11. The venue

NonceIs(p) ==
  LET mine == {n[2] : n \in {used \in venue.used : used[1] = KeyOf(core, p)}}
      nonce == Nonce(core, p)
  IN IF nonce \in mine THEN "duplicate"
     ELSE IF Cardinality(mine) >= Window /\ nonce < Min(mine) THEN "too_low" ELSE "fresh"

\* The Window highest nonces of a key are remembered.
UsedWith(p) ==
  LET key == KeyOf(core, p)
      all == {n \in venue.used : n[1] = key} \cup {<<key, Nonce(core, p)>>}
      lowest == Min({n[2] : n \in all})
  IN (venue.used \ all) \cup (IF Cardinality(all) > Window THEN all \ {<<key, lowest>>} ELSE all)

\* What the venue makes of a fresh action: its answer, and what it now knows.
Outcomes(p) ==
  LET spent == [venue EXCEPT !.used = UsedWith(p), !.counted = @ \ {p}]
      i == core.post[p].item
      Knows(order, status) ==
        [spent EXCEPT !.ran[i] = @ + 1, !.book[order] = status,
                      !.seen[order] = IF "lag" \in Faults THEN @ ELSE status]
      Refusal(order) == [spent EXCEPT !.book[order] = IF @ = "none" THEN "refused" ELSE @]
  IN IF IsFence(core, p) THEN {[says |-> "noop", venue |-> spent]}
     ELSE IF i \in Cancels THEN
       IF venue.book[Target(i)] = "open" THEN {[says |-> "canceled", venue |-> Knows(Target(i), "canceled")]}
       ELSE {[says |-> "missing", venue |-> spent]}
     ELSE IF p \in venue.expired THEN {[says |-> "refused", venue |-> Refusal(i)]}
     ELSE {[says |-> result,
            venue |-> CASE result = "resting" -> Knows(i, "open")
                        [] result = "filled" -> Knows(i, "filled")
                        [] result = "rejected" -> [Knows(i, "rejected") EXCEPT !.ran[i] = venue.ran[i]]
                        [] result = "refused" -> Refusal(i)] : result \in Results}

\* A reply reaches the executor only over the connection that carried its post, while that is up.
Replies(p, says) ==
  IF Connected /\ core.post[p].epoch = session.epoch THEN {[post |-> p, says |-> says]} ELSE {}

Sends(p, says, frames) ==
  network' = [frames |-> frames, replies |-> network.replies \cup Replies(p, says)]

\* A frame arrives and is answered. It commits its nonce before it answers; it runs at most once (assumptions V1, V2).
Arrive(p, frames) ==
  /\ IF NonceIs(p) = "fresh"
     THEN \E outcome \in Outcomes(p) : venue' = outcome.venue /\ Sends(p, outcome.says, frames)
     ELSE venue' = [venue EXCEPT !.counted = @ \ {p}] /\ Sends(p, NonceIs(p), frames)
  /\ UNCHANGED <<core, session, stop>>

Receive(p) == p \in network.frames /\ Arrive(p, network.frames \ {p}) /\ NoFault

\* The frame is delivered again later.
ReceiveTwice(p) == p \in network.frames /\ Fault("duplicate") /\ Arrive(p, network.frames)

\* A gateway answers with an error, and the frame goes on to the venue, or not (rule 8).
GatewayError(p) ==
  /\ p \in network.frames /\ Fault("gateway")
  /\ venue' = [venue EXCEPT !.counted = @ \ {p}] /\ Sends(p, "error", network.frames)
  /\ UNCHANGED <<core, session, stop>>

\* The gate proves that it refused the post: 429, or too many pending posts (rule 8). Assumption V6: not one copy of it.
GateRefusal(p) ==
  /\ p \in network.frames /\ (p \in venue.counted \/ Mistaken("GateRefusesACopy")) /\ Fault("gate")
  /\ venue' = [venue EXCEPT !.counted = @ \ {p}] /\ Sends(p, "gate", network.frames \ {p})
  /\ UNCHANGED <<core, session, stop>>

\* A frame that nobody waits for any more is lost. It might as well never be received; but then it always could be, and
\* a deadlock would not be seen.
Vanish(p) ==
  /\ "loss" \in Faults /\ p \in network.frames /\ core.post[p].state # "sent"
  /\ network' = [network EXCEPT !.frames = @ \ {p}]
  /\ NoFault /\ UNCHANGED <<core, session, stop, venue>>

\* The record catches up (rule 9).
Publish(i) ==
  /\ venue.seen[i] # Shown(i)
  /\ venue' = [venue EXCEPT !.seen[i] = Shown(i)]
  /\ NoFault /\ UNCHANGED <<core, session, stop, network>>

\* The expiry of a post that no fence can settle passes on the venue's clock (rule 11).
Expire(p) ==
  /\ p \in 1..core.foreign \ venue.expired /\ core.post[p].item \in Orders
  /\ venue' = [venue EXCEPT !.expired = @ \cup {p}]
  /\ NoFault /\ UNCHANGED <<core, session, stop, network>>

-----------------------------------------------------------------------------
\* 12. The whole

Quiet ==
  /\ \A i \in Intents : core.intent[i].state \in IntentFinal
  /\ \A p \in PostIds : ~IsOpen(core, p)
  /\ Occupied(core) = 0

\* Normal rest, so that every other state without a successor is a deadlock.
Rest == Quiet /\ UNCHANGED vars

\* Every set is a constant, so that the checker's traces name the action.
Next ==
  \/ \E i \in Intents : Enqueue(i) \/ Cancel(i) \/ Send(i) \/ Refuse(i) \/ Break(i)
  \/ \E p \in PostIds : Fence(p) \/ Ack(p) \/ Fail(p) \/ Answer(p) \/ TimeOut(p) \/ Clear(p)
  \/ \E p \in PostIds : Find(p) \/ Miss(p) \/ Spend(p)
  \/ \E i \in Orders : OrderSeen(i)
  \/ \E record \in Records : Journal(record)
  \/ Connect \/ Open \/ Synced \/ Disconnect \/ Drain \/ Close \/ Trip \/ Reset
  \/ Crash \/ CrashAndNewKey \/ Restart
  \/ \E p \in PostIds : Receive(p) \/ ReceiveTwice(p) \/ GatewayError(p) \/ GateRefusal(p) \/ Vanish(p) \/ Expire(p)
  \/ \E i \in Orders : Publish(i)
  \/ Rest

Spec == Init /\ [][Next]_vars

(* Fairness, that is what must go on happening: the executor takes its steps, it reconnects and starts again; the venue
   answers the posts that the executor waits for, and the network brings the answers; time passes, so that quarantine,
   lag and expiry end. Faults are never due. *)
ExecutorGoesOn ==
  \/ \E i \in Intents : Send(i)
  \/ \E p \in PostIds : Fence(p) \/ Find(p) \/ Miss(p) \/ Spend(p)
  \/ Connect \/ Open \/ Synced \/ Close \/ Restart
VenueAnswers ==
  \/ \E p \in PostIds : IsSent(p) /\ Receive(p)
  \/ \E p \in PostIds : IsSent(p) /\ (Ack(p) \/ Fail(p))
TimePasses ==
  \/ \E p \in PostIds : Clear(p) \/ Expire(p)
  \/ \E i \in Orders : Publish(i)

\* One weak condition: while something of this is due, something that is due happens.
FairSpec == Spec /\ WF_vars(ExecutorGoesOn \/ VenueAnswers \/ TimePasses)

-----------------------------------------------------------------------------
\* 13. Invariants with the names of spec/invariants.py

State(i) == core.intent[i].state
Posts == 1..core.last

InflightNeverNegative == core.slots.count >= 0
InflightNeverAboveLimit == core.slots.count <= Limit
InflightMatchesSent ==
  /\ core.slots.count = Cardinality(SentPosts(core))
  /\ core.slots.state = Band(Occupied(core))
\* Here the venue's own count, which the code cannot see.
VenueInflightWithinLimit == Cardinality(venue.counted) <= Limit
ExactlyOneCompletion == \A p \in Posts : core.post[p].ends = IF core.post[p].state \in PostFinal THEN 1 ELSE 0
CompletedReleasesOnce ==
  \A p \in Posts : core.post[p].frees = IF core.post[p].state \in PostFinal \ {"unsent"} THEN 1 ELSE 0
UnsentHoldsNoSlot == \A p \in Posts : core.post[p].state = "unsent" => ~core.post[p].quarantined
FenceSpendsTheAttemptsNonce ==
  \A p \in Posts : IsFence(core, p) => /\ Nonce(core, p) = Nonce(core, core.post[p].fences)
                                       /\ ~IsFence(core, core.post[p].fences)
QueueOrderKept ==
  \A q \in Priorities : \A n \in 1..Len(core.queue[q]) - 1 : core.queue[q][n] < core.queue[q][n + 1]
QueuesBounded == \A q \in Priorities : Len(core.queue[q]) <= QueueLimit
EveryAcceptedIntentHasOneOutcome ==
  \A i \in Intents :
    /\ core.intent[i].outcomes = IF State(i) \in IntentFinal THEN 1 ELSE 0
    /\ Cardinality({n \in 1..Len(core.queue[PriorityOf(i)]) : core.queue[PriorityOf(i)][n] = i})
         = IF State(i) = "queued" THEN 1 ELSE 0
    /\ State(i) = "posted" => \E p \in AttemptsOf(core, i) : IsSent(p)
    /\ State(i) = "unknown" <=> \E p \in AttemptsOf(core, i) : IsOpen(core, p)
    /\ State(i) = "waiting" => State(Target(i)) \in {"posted", "unknown"}
UnknownNeverReportedAsRejected ==
  \A i \in Intents :
    /\ State(i) \in IntentFinal /\ AttemptsOf(core, i) # {} /\ ~core.intent[i].proof
         => ~Ambiguous(core, Max(AttemptsOf(core, i)))
    /\ core.intent[i].lost /\ State(i) \in {"rejected", "not_executed"} => core.intent[i].proof
NoBlindResend ==
  \A i \in Orders :
    State(i) = "queued" =>
      /\ ~core.intent[i].wanted
      /\ \A p \in AttemptsOf(core, i) : Ambiguous(core, p) => core.post[p].settlement = "never_executed"

\* Two that speak of the moment of sending, and so of a step.
SendsNow(i) == core'.last > core.last /\ core'.post[core'.last].item = i /\ core'.post[core'.last].state # "unsent"
CancelsBeforeReduceOnlyBeforeNew ==
  [][\A i \in Intents : SendsNow(i) =>
       /\ i \notin Cancels => core.queue["cancel"] = <<>>
       /\ i \in NewOrders => core.queue["reduce_only"] = <<>>]_vars
NoNewOrderWhileDegradedOrHalted ==
  [][\A i \in NewOrders : SendsNow(i) => NewOrdersPass /\ Occupied(core) < HighWatermark]_vars

-----------------------------------------------------------------------------
\* 14. Invariants that need the venue's truth

\* What the owner is told is so: nothing that is called dead ever ran, and nothing that is called done did not.
OutcomeIsTrue ==
  /\ \A i \in Orders :
       CASE State(i) = "not_executed" -> venue.ran[i] = 0
         [] State(i) = "resting" -> venue.book[i] \in {"open", "canceled"}
         [] State(i) \in {"filled", "canceled"} -> venue.book[i] = State(i)
         [] State(i) = "rejected" -> venue.book[i] \in {"rejected", "refused"}
         [] OTHER -> TRUE
  /\ \A c \in Cancels :
       CASE State(c) = "canceled" -> \/ venue.book[Target(c)] = "canceled"
                                     \/ AttemptsOf(core, c) = {} /\ State(Target(c)) = "not_executed"
         [] State(c) \in {"rejected", "not_executed"} -> venue.ran[c] = 0
         [] OTHER -> TRUE

ExecutedAtMostOnce == \A i \in Orders : venue.ran[i] <= 1

\* The owner hears one outcome, through crashes too (rules 2, 10).
OneOutcomeReported == \A i \in Intents : core.intent[i].outcomes <= 1

\* Once a cancel is reported carried out or pointless, its order is not on the book, then or later (rule 19).
CanceledOrderIsGone ==
  \A c \in Cancels : State(c) \in {"canceled", "rejected"} => venue.book[Target(c)] # "open"

\* New orders and their fences never hold all slots while a reduce-only order waits (rule 18).
ReduceOnlyFindsASlot ==
  core.queue["reduce_only"] # <<>> =>
    Cardinality({p \in Posts : /\ IsSent(p) \/ core.post[p].quarantined
                               /\ ItemOf(core, p) \in NewOrders}) < Limit

-----------------------------------------------------------------------------
\* 15. Liveness

\* In this form they are cheap to check, and say at least what their names do: what ends does not begin again.
EverySentPostEnds == []<>(SentPosts(core) = {})
EveryUnknownSettles == []<>(\A i \in Intents : State(i) # "unknown")
InflightReturnsToZero == []<>(Occupied(core) = 0)
ReduceOnlyEventuallySent == []<>(\A i \in ReduceOnly : State(i) # "queued")
\* The promise of design.md, seen from the end: what was accepted gets its outcome.
EveryAcceptedIntentEnds == []<>(\A i \in Intents : State(i) \in IntentFinal \cup {"accepted"})
=============================================================================
