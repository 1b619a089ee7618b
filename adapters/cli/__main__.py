"""`python -m adapters.cli` is `hip3`."""

from adapters.cli import main

main()
