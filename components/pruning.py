"""What ends a training that a search has given up."""


class PrunedError(Exception):
    """The training was not worth going on; no model was written. It is for the search that asked, not for the user."""
