-- The payments of a funded account, so that the daily audit proves one account without reading every session.
CREATE INDEX payment_authorization_account ON gateway.payment_authorization (account_party_id, currency)
    WHERE account_party_id IS NOT NULL;
