"""Training at one resolution and deploying at another."""
