-- Stations that name no EVSE when they ask, and sessions that began while a station was offline.

ALTER TABLE pnc.decision
    -- The EVSEs of the station, until it names the one of the session in evse_id; empty: it did at once, or has since.
    ADD COLUMN evse_ids text[] NOT NULL DEFAULT '{}',
    -- The session began before anybody was asked: when, and why.
    ADD COLUMN offline_since timestamptz,
    ADD COLUMN offline_reason text
        CHECK (offline_reason IN ('station_offline', 'system_unreachable', 'local_list', 'authorization_cache')),
    ADD CONSTRAINT decision_offline CHECK ((offline_since IS NULL) = (offline_reason IS NULL));

-- The most that a contract pays for a session that began offline; null: as for every session, 0: nothing.
ALTER TABLE pnc.contract ADD COLUMN offline_limit_minor bigint CHECK (offline_limit_minor >= 0);
