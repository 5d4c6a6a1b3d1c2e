"""A trained network for programs that know nothing of this repository."""
