-- What each audit compared and what it left out, for whoever asks afterwards. Rows before this have none.
ALTER TABLE gateway.audit_run
    ADD COLUMN began_at timestamptz,                     -- wall time
    ADD COLUMN daily    boolean NOT NULL DEFAULT false,  -- it went on from a checkpoint
    -- An array: name, subject, result, compared, left_out of every check; amounts in the texts are minor units.
    ADD COLUMN compared jsonb   NOT NULL DEFAULT '[]';
