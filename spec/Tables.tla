------------------------------- MODULE Tables -------------------------------
\* The transition tables of machines/, one row as <<event, source, target>>.
\* Written by adapters/verification/tla_tables.py (spec/README.md says how); not to be edited.

IntentStates == {"accepted", "queued", "posted", "unknown", "waiting", "resting", "filled", "rejected", "canceled", "not_executed"}
IntentFinal == {"resting", "filled", "rejected", "canceled", "not_executed"}
IntentRows == {
  <<"enqueue", "accepted", "queued">>,
  <<"cancel", "accepted", "canceled">>,
  <<"post", "queued", "posted">>,
  <<"drop", "queued", "not_executed">>,
  <<"rest", "posted", "resting">>,
  <<"fill", "posted", "filled">>,
  <<"reject", "posted", "rejected">>,
  <<"cancel", "posted", "canceled">>,
  <<"abandon", "posted", "not_executed">>,
  <<"return_", "posted", "queued">>,
  <<"wait", "posted", "waiting">>,
  <<"lose", "posted", "unknown">>,
  <<"rest", "unknown", "resting">>,
  <<"fill", "unknown", "filled">>,
  <<"reject", "unknown", "rejected">>,
  <<"cancel", "unknown", "canceled">>,
  <<"abandon", "unknown", "not_executed">>,
  <<"return_", "unknown", "queued">>,
  <<"return_", "waiting", "queued">>,
  <<"reject", "waiting", "rejected">>,
  <<"drop", "waiting", "not_executed">>}

PostStates == {"queued", "sent", "acked", "failed", "timed_out", "disconnected", "unsent"}
PostFinal == {"acked", "failed", "timed_out", "disconnected", "unsent"}
PostRows == {
  <<"send", "queued", "sent">>,
  <<"refuse", "queued", "unsent">>,
  <<"ack", "sent", "acked">>,
  <<"fail", "sent", "failed">>,
  <<"time_out", "sent", "timed_out">>,
  <<"disconnect", "sent", "disconnected">>}

InflightStates == {"idle", "normal", "degraded", "full"}
InflightFinal == {}
InflightRows == {
  <<"acquire", "idle", "normal">>,
  <<"acquire", "idle", "degraded">>,
  <<"acquire", "idle", "full">>,
  <<"acquire", "normal", "normal">>,
  <<"acquire", "normal", "degraded">>,
  <<"acquire", "normal", "full">>,
  <<"acquire", "degraded", "degraded">>,
  <<"acquire", "degraded", "full">>,
  <<"release", "normal", "idle">>,
  <<"release", "normal", "normal">>,
  <<"release", "degraded", "idle">>,
  <<"release", "degraded", "normal">>,
  <<"release", "degraded", "degraded">>,
  <<"release", "full", "idle">>,
  <<"release", "full", "degraded">>,
  <<"release", "full", "normal">>,
  <<"quarantine", "normal", "normal">>,
  <<"quarantine", "degraded", "degraded">>,
  <<"quarantine", "full", "full">>,
  <<"clear", "normal", "idle">>,
  <<"clear", "normal", "normal">>,
  <<"clear", "degraded", "idle">>,
  <<"clear", "degraded", "normal">>,
  <<"clear", "degraded", "degraded">>,
  <<"clear", "full", "idle">>,
  <<"clear", "full", "degraded">>,
  <<"clear", "full", "normal">>}

SettlementStates == {"unknown", "fencing", "looking_up", "executed", "never_executed"}
SettlementFinal == {"executed", "never_executed"}
SettlementRows == {
  <<"fence", "unknown", "fencing">>,
  <<"fence_lost", "fencing", "unknown">>,
  <<"fence_won", "fencing", "never_executed">>,
  <<"fence_won", "unknown", "never_executed">>,
  <<"fence_won", "looking_up", "never_executed">>,
  <<"spend", "fencing", "looking_up">>,
  <<"spend", "unknown", "looking_up">>,
  <<"find", "unknown", "executed">>,
  <<"find", "fencing", "executed">>,
  <<"find", "looking_up", "executed">>,
  <<"miss", "looking_up", "never_executed">>,
  <<"answer", "unknown", "executed">>,
  <<"answer", "fencing", "executed">>,
  <<"answer", "looking_up", "executed">>,
  <<"refuse", "unknown", "never_executed">>,
  <<"refuse", "fencing", "never_executed">>,
  <<"refuse", "looking_up", "never_executed">>}

SessionStates == {"disconnected", "connecting", "syncing", "ready", "draining", "closed"}
SessionFinal == {"closed"}
SessionRows == {
  <<"connect", "disconnected", "connecting">>,
  <<"open", "connecting", "syncing">>,
  <<"synced", "syncing", "ready">>,
  <<"lose", "connecting", "disconnected">>,
  <<"lose", "syncing", "disconnected">>,
  <<"lose", "ready", "disconnected">>,
  <<"lose", "draining", "closed">>,
  <<"drain", "syncing", "draining">>,
  <<"drain", "ready", "draining">>,
  <<"drain", "disconnected", "closed">>,
  <<"drain", "connecting", "closed">>,
  <<"close", "draining", "closed">>}

HardStopStates == {"armed", "tripped"}
HardStopFinal == {}
HardStopRows == {
  <<"trip", "armed", "tripped">>,
  <<"trip", "tripped", "tripped">>,
  <<"reset", "tripped", "armed">>}


\* Which moves, as <<machine, event>>, an event of the core may bring about, in however many strides.
\* From spec/composition.py.
May == [
  BudgetReported |-> {},
  Closed |-> {<<"inflight", "quarantine">>, <<"intent", "drop">>, <<"intent", "lose">>, <<"intent", "return_">>, <<"post", "disconnect">>, <<"session", "close">>, <<"settlement", "fence_lost">>},
  ConnectStarted |-> {<<"session", "connect">>},
  ConnectionLost |-> {<<"inflight", "quarantine">>, <<"intent", "drop">>, <<"intent", "lose">>, <<"intent", "return_">>, <<"post", "disconnect">>, <<"session", "lose">>, <<"settlement", "fence_lost">>},
  ConnectionOpened |-> {<<"session", "open">>},
  DrainStarted |-> {<<"intent", "drop">>, <<"session", "drain">>},
  ErrorReceived |-> {<<"hard_stop", "trip">>, <<"inflight", "clear">>, <<"inflight", "release">>, <<"intent", "abandon">>, <<"intent", "drop">>, <<"intent", "lose">>, <<"intent", "reject">>, <<"intent", "return_">>, <<"intent", "wait">>, <<"post", "fail">>, <<"settlement", "fence_lost">>, <<"settlement", "refuse">>, <<"settlement", "spend">>},
  FillSeen |-> {<<"settlement", "spend">>},
  LookUpFailed |-> {},
  LookedUp |-> {<<"intent", "abandon">>, <<"intent", "cancel">>, <<"intent", "fill">>, <<"intent", "reject">>, <<"intent", "rest">>, <<"intent", "return_">>, <<"session", "synced">>, <<"settlement", "find">>, <<"settlement", "miss">>},
  MarketsLoaded |-> {<<"session", "synced">>},
  MessageWritten |-> {},
  OrderGone |-> {},
  OrderSeen |-> {<<"intent", "cancel">>, <<"intent", "fill">>, <<"intent", "reject">>, <<"intent", "rest">>, <<"intent", "return_">>, <<"session", "synced">>, <<"settlement", "find">>},
  PostWritten |-> {<<"inflight", "acquire">>, <<"intent", "post">>, <<"post", "send">>},
  Recovered |-> {<<"inflight", "acquire">>, <<"inflight", "quarantine">>, <<"intent", "drop">>, <<"intent", "lose">>, <<"intent", "return_">>, <<"post", "disconnect">>, <<"settlement", "fence_lost">>},
  ReplyReceived |-> {<<"hard_stop", "trip">>, <<"inflight", "clear">>, <<"inflight", "release">>, <<"intent", "abandon">>, <<"intent", "cancel">>, <<"intent", "drop">>, <<"intent", "fill">>, <<"intent", "lose">>, <<"intent", "reject">>, <<"intent", "rest">>, <<"intent", "return_">>, <<"intent", "wait">>, <<"post", "ack">>, <<"post", "fail">>, <<"session", "synced">>, <<"settlement", "answer">>, <<"settlement", "fence_lost">>, <<"settlement", "fence_won">>, <<"settlement", "refuse">>, <<"settlement", "spend">>},
  SendBroken |-> {<<"inflight", "acquire">>, <<"inflight", "quarantine">>, <<"intent", "lose">>, <<"intent", "post">>, <<"intent", "return_">>, <<"post", "disconnect">>, <<"post", "send">>, <<"settlement", "fence_lost">>},
  SendRefused |-> {<<"intent", "drop">>, <<"post", "refuse">>, <<"settlement", "fence_lost">>},
  ServerTimeLearned |-> {<<"hard_stop", "trip">>, <<"intent", "drop">>, <<"session", "synced">>},
  StopReset |-> {<<"hard_stop", "reset">>},
  StopTripped |-> {<<"hard_stop", "trip">>, <<"intent", "drop">>},
  Submit |-> {<<"hard_stop", "trip">>, <<"intent", "cancel">>, <<"intent", "drop">>, <<"intent", "enqueue">>},
  Tick |-> {<<"hard_stop", "trip">>, <<"intent", "drop">>, <<"settlement", "fence">>},
  TimePassed |-> {<<"inflight", "clear">>, <<"inflight", "quarantine">>, <<"intent", "lose">>, <<"intent", "return_">>, <<"post", "time_out">>, <<"settlement", "fence_lost">>, <<"settlement", "spend">>}]
=============================================================================
