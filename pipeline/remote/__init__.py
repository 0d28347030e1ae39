"""Jobs of a service that go on without this process: submitted, watched, left, found again and taken up."""
