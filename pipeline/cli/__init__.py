"""The command line; a command's module, and what it needs, loads when it is called."""
