"""Speed and memory, measured: `run.py`, `scaling.py`, `calibrate.py`."""
