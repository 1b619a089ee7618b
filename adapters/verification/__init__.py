"""How the machines are verified: a ladder of levels, from the tables to recorded runs."""
