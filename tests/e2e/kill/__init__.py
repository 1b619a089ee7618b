"""Kill tests: an executor that is killed again and again, and a wire to the venue that is cut, under load.

`python -m tests.e2e.kill --kills 200 --cuts 50 --intents 10000` runs a whole campaign; the suite runs a small one.
"""
