-- Where the PSP sends a receipt of a payment, if the caller named an address; kept for the charge under the mandate.
ALTER TABLE gateway.payment_authorization
    ADD COLUMN receipt_email text CHECK (octet_length(receipt_email) BETWEEN 3 AND 254);
