"""Fit one function or image with a kernel generator: which generator represents what."""
