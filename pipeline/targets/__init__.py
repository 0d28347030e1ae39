"""Where Beam jobs run: on this machine, on Dataflow, or on any runner that speaks Beam's job API."""
