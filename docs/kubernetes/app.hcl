# Opens what the key `documents` has sealed.
path "transit/decrypt/documents" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
