"""The report on a run: what ML Metadata and the run's artifacts tell, on one page that needs nothing but itself."""
