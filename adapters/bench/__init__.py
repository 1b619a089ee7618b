"""The benchmark: the executor beside a hand-written floor and the official SDK, in one run.

Every client is a process of its own, and so is its venue, which answers at once and checks nothing, so that what is
measured is the client. `scenarios` says what is measured, `runner` starts the processes, and `client` is what runs in
them. docs/performance.md has the figures and how to read them.
"""
