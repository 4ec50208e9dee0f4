"""`make chaos`; not in `chaos` itself, which every process that is forked would import again."""

import sys

from tests.faults.chaos import main

sys.exit(main(sys.argv[1:]))
