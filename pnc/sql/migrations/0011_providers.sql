-- Providers: whose contracts an eMAID names, by its first five characters (country and provider id).

-- A provider belongs to one party; contracts of others can't be stored under it.
CREATE TABLE pnc.provider (
    environment   text        NOT NULL REFERENCES pnc.environment,
    provider_id   text        NOT NULL CHECK (provider_id ~ '^[A-Z]{2}[A-Z0-9]{3}$'),
    party         text        NOT NULL,
    registered_at timestamptz NOT NULL,
    PRIMARY KEY (environment, provider_id)
);
