"""The flags, their types and defaults, and the way from a command line to a checked config."""

import os

# Threads that wait for each other shall sleep, not spin: where other processes want the cores too,
# a small network trains two to three times faster so, and as fast where none does. Read when torch
# is first imported, so this has to come before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
