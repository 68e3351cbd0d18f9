"""`python -m narrows` is the `narrows` command."""

import sys

from narrows.cli.main import main

sys.exit(main())
