"""What must hold: invariants as predicates over a snapshot of the core."""
