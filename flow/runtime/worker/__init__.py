"""The worker: receives requests, has handlers answer them, and settles the requests."""
