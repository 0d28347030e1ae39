"""Questions about the past, answered from ML Metadata and the artifacts; nothing here writes either."""
