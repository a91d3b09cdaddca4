-- The keys of the file before become the tables' primary keys: one index less for each row.
ALTER TABLE gateway.event
    DROP CONSTRAINT event_pkey, ADD CONSTRAINT event_pkey PRIMARY KEY USING INDEX event_key;
ALTER TABLE gateway.payment_authorization
    DROP CONSTRAINT payment_authorization_pkey,
    ADD CONSTRAINT payment_authorization_pkey PRIMARY KEY USING INDEX payment_authorization_key;
ALTER TABLE gateway.capture
    DROP CONSTRAINT capture_shard_id_key,
    ADD CONSTRAINT capture_id_shard_key UNIQUE USING INDEX capture_by_id_key;
ALTER TABLE gateway.delivery
    DROP CONSTRAINT delivery_pkey, ADD CONSTRAINT delivery_pkey PRIMARY KEY USING INDEX delivery_key;
