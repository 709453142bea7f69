"""``python -m fastlstm``: the command line."""

import sys

from fastlstm.cli import main

if __name__ == "__main__":
    sys.exit(main())
