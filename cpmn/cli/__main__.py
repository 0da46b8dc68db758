"""`python -m cpmn.cli`."""

import sys

from cpmn.cli import main

sys.exit(main())
