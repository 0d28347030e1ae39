"""Where Beam jobs run: on this machine, or on any runner that speaks Beam's job API."""
