"""What every message says that refuses a configuration because it could run code."""

TRUST = "if you trust whoever made it, add --trust (in Python trust=True), which runs what the folder says"
