----------------------------- MODULE Lifecycle -----------------------------
(* The life of posts and intents without settlement: queues, priorities, the *)
(* high watermark, slots, quarantine, connections. The real core has exactly *)
(* as many states as this module: adapters/verification/lifecycle.py says    *)
(* which variable is what there, and a test compares the two counts.         *)
EXTENDS Naturals, FiniteSets, Sequences

CONSTANTS Limit, HighWatermark, Epochs

(* What is submitted, in this order. *)
Kind == <<"cancel", "new", "reduce", "cancel">>
All == 1..Len(Kind)

VARIABLES
    submitted,  \* how many were submitted
    state,      \* of each: waiting to be submitted, refused, queued, posted, done
    inflight,   \* the count of slots taken
    answerable, \* quarantined posts of the latest connection
    old,        \* quarantined posts of the connections before
    connected, epoch

vars == <<submitted, state, inflight, answerable, old, connected, epoch>>

Which(word) == {i \in All : state[i] = word}
Posted == Which("posted")
Queue(kind) == {i \in Which("queued") : Kind[i] = kind}
Occupied == inflight + answerable + old
First(set) == CHOOSE i \in set : \A j \in set : i <= j

(* Only cancels are lost: so there is nothing to settle. *)
NoOrderIsOut == \A i \in Posted : Kind[i] = "cancel"

Init ==
    /\ submitted = 0
    /\ state = [i \in All |-> "waiting"]
    /\ inflight = 0 /\ answerable = 0 /\ old = 0
    /\ connected = TRUE /\ epoch = 1

(* A new order is refused while there is no connection, or no slot. *)
Submit ==
    /\ submitted < Len(Kind)
    /\ submitted' = submitted + 1
    /\ LET refused == Kind[submitted + 1] = "new" /\ (~connected \/ Occupied >= Limit)
       IN state' = [state EXCEPT ![submitted + 1] = IF refused THEN "refused" ELSE "queued"]
    /\ UNCHANGED <<inflight, answerable, old, connected, epoch>>

(* Cancels before reduce-only orders before new ones, which wait from the high watermark on. *)
NextQueue ==
    IF Queue("cancel") # {} THEN Queue("cancel")
    ELSE IF Queue("reduce") # {} THEN Queue("reduce")
    ELSE IF Occupied < HighWatermark THEN Queue("new") ELSE {}

Send ==
    /\ connected /\ Occupied < Limit /\ NextQueue # {}
    /\ state' = [state EXCEPT ![First(NextQueue)] = "posted"]
    /\ inflight' = inflight + 1
    /\ UNCHANGED <<submitted, answerable, old, connected, epoch>>

Answer ==
    /\ connected
    /\ \E i \in Posted : state' = [state EXCEPT ![i] = "done"]
    /\ inflight' = inflight - 1
    /\ UNCHANGED <<submitted, answerable, old, connected, epoch>>

LateAnswer ==
    /\ answerable > 0
    /\ answerable' = answerable - 1
    /\ UNCHANGED <<submitted, state, inflight, old, connected, epoch>>

BackToTheirQueues == state' = [i \in All |-> IF i \in Posted THEN "queued" ELSE state[i]]

Time ==
    /\ NoOrderIsOut
    /\ BackToTheirQueues
    /\ inflight' = 0 /\ answerable' = inflight /\ old' = 0
    /\ UNCHANGED <<submitted, connected, epoch>>

Lose ==
    /\ connected /\ epoch < Epochs /\ NoOrderIsOut
    /\ BackToTheirQueues
    /\ connected' = FALSE
    /\ inflight' = 0 /\ answerable' = answerable + inflight
    /\ UNCHANGED <<submitted, old, epoch>>

Connect ==
    /\ ~connected
    /\ connected' = TRUE /\ epoch' = epoch + 1
    /\ answerable' = 0 /\ old' = old + answerable
    /\ UNCHANGED <<submitted, state, inflight>>

Next == Submit \/ Send \/ Answer \/ LateAnswer \/ Time \/ Lose \/ Connect

Spec == Init /\ [][Next]_vars

InflightMatchesSent == inflight = Cardinality(Posted)
VenueInflightWithinLimit == Occupied <= Limit
NoNewOrderWhileDegradedOrHalted ==
    [][\A i \in Posted' \ Posted : Kind[i] = "new" => Occupied < HighWatermark]_vars
CancelsBeforeReduceOnlyBeforeNew ==
    [][\A i \in Posted' \ Posted : Kind[i] # "cancel" => Queue("cancel") = {}]_vars
=============================================================================
