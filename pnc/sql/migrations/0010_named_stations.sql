-- What a station says of its place after the authorization: its own identity, and the connector of the session.

ALTER TABLE pnc.decision ADD COLUMN station_id text
    CHECK (station_id <> '' AND length(station_id) <= 48);
ALTER TABLE pnc.decision ADD COLUMN connector_id text
    CHECK (connector_id <> '' AND length(connector_id) <= 36);
