"""Diagrams of the state machines: as they are, what a change changes, and what a recorded run did."""
