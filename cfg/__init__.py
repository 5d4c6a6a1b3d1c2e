"""The flags, their types and defaults, and the way from a command line to a checked config."""

import os

# Threads that wait for each other shall look out for as long as it takes to wake one that sleeps,
# about a tenth of a millisecond, and then sleep. Those that sleep at once make a small network half
# as fast, and those that never sleep, which is what PyTorch does by itself, three to ten times as
# slow where other processes want the cores too. Read when torch is first imported, so this has to
# come before.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
