"""`python -m ckconv.explore CHECKPOINT`: a page that shows a network's kernels."""

import sys

from ckconv.explore.write import main

sys.exit(main())
