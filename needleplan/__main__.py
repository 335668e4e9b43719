"""``python -m needleplan``."""

from needleplan.app.cli import main

raise SystemExit(main())
