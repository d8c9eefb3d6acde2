"""`python -m wanlab.cli`: a command that was detached runs like this."""

import sys

from wanlab.cli.main import main

sys.exit(main())
