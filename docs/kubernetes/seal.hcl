# Seals documents with the key `documents`, and opens them once to compare. `update` makes no key.
path "transit/encrypt/documents" {
  capabilities = ["update"]
}
path "transit/decrypt/documents" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
