"""What leaves this machine: the code and the pinned packages that remote workers run."""
