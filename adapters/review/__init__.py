"""One page for who reviews a change of the machines: what changed, and what is known of it."""
