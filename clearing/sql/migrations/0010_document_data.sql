-- What the law asks of documents beyond EN 16931, and drivers' documents that wait for it.

-- Address, tax and register numbers, contact, electronic address, profile and language of a party, as JSON.
ALTER TABLE clearing.party ADD COLUMN details jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(details) = 'object');

-- 261: a self-billed credit note.
ALTER TABLE clearing.document DROP CONSTRAINT document_type_code_check;
ALTER TABLE clearing.document ADD CONSTRAINT document_type_code_check CHECK (type_code IN (261, 380, 381, 389));

-- What was charged, where, when and at which prices; the VAT in the state's own currency. Null: issued before.
ALTER TABLE clearing.driver_document ADD COLUMN details text CHECK (details IS JSON OBJECT);

-- A driver's document that lacks what its country demands, and what that is. It is issued once that is there.
CREATE TABLE clearing.pending_driver_document (
    shard       smallint    NOT NULL CHECK (shard BETWEEN 0 AND 63),
    session_id  uuid        NOT NULL,
    kind        text        NOT NULL,             -- of its journal entry
    reference   text        NOT NULL DEFAULT '',  -- of its journal entry
    supplier_id text        NOT NULL REFERENCES clearing.party,
    reason      text        NOT NULL CHECK (reason <> ''),
    first_at    timestamptz NOT NULL,
    last_at     timestamptz NOT NULL,
    PRIMARY KEY (shard, session_id, kind, reference),
    CHECK (shard = (get_byte(uuid_send(session_id), 15) & 63))
);
CREATE INDEX pending_driver_document_supplier ON clearing.pending_driver_document (supplier_id, last_at);
