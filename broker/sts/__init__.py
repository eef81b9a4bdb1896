"""The way to AWS: a chain of AssumeRole calls, planned and checked without a network, and the one client that makes them."""
