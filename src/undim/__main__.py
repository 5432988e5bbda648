"""`python -m undim` is the command `undim`."""

import sys

from undim.cli.main import main

sys.exit(main())
