"""HashiCorp Vault and OpenBao, which speak the same: HTTP, logins, the token's life, and the transit engine."""
