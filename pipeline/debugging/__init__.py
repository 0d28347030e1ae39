"""Any step of any past run, replayed with the inputs it had: capsules, and what runs inside them."""
