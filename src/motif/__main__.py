"""`python -m motif`."""

import sys

from motif.cli import main

if __name__ == "__main__":
    sys.exit(main())
