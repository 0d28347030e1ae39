"""Doubles of the cloud at the wire: what runs against them is the real client, and real workers in an environment of their own."""
