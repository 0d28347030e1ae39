"""Pre-flight: what would fail on a worker, told before anything is paid for."""
