"""`python -m ckconv.antialiasing`: draw a kernel of each generator and what aliases of it."""

from ckconv.antialiasing.picture import main

main()
