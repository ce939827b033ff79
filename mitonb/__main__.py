"""`python -m mitonb` is the command `mitonb`."""

from mitonb.cli import main

raise SystemExit(main())
