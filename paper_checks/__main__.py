"""`python -m paper_checks` is `paper-checks`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
