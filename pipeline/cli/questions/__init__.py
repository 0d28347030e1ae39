"""The commands of `braid lineage`, a module each."""
