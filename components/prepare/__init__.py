"""The step that runs one SQL query over one streamed table."""
