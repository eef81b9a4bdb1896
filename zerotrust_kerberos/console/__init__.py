"""``zerotrust console``: the AWS console in the user's browser, past command lines that everybody can read."""
