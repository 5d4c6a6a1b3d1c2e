"""Flags of runs that take seconds."""

SMALL_NETWORK = (
    "debug=True",
    "device=cpu",
    "net.no_hidden=4",
    "net.no_blocks=1",
    "kernel.no_hidden=8",
)
