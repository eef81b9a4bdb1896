# Rotates the key `documents` and wraps anew what it has sealed. It can neither decrypt nor encrypt.
path "transit/keys/documents" {
  capabilities = ["read"]
}
path "transit/keys/documents/rotate" {
  capabilities = ["update"]
}
path "transit/rewrap/documents" {
  capabilities = ["update"]
}
# For --retire. Nothing else of the key can be changed: not whether it may be exported or deleted.
path "transit/keys/documents/config" {
  capabilities       = ["update"]
  allowed_parameters = { "min_decryption_version" = [] }
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
