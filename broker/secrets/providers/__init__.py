"""Other people's vaults behind the port, a file each: what a path, a version and a refusal are there."""
