"""Training on an array: settings, networks, update rules, and the account of what it cost."""
