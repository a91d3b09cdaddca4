-- The tokens that we send to OCPI peers, sealed like webhook secrets: where a key is named, outbound_token holds the
-- Base64 of nonce and ciphertext, else the token itself. The next start of a gateway or worker seals what is there.
ALTER TABLE gateway.ocpi_peer ADD COLUMN encryption_key text CHECK (encryption_key <> '');
COMMENT ON COLUMN gateway.ocpi_peer.encryption_key IS 'name of the key that sealed outbound_token; null: in the clear';
