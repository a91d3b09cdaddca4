-- The directory of public EVSEs: where each one is, what its location says of it, which plugs it has.

ALTER TABLE gateway.ocpi_connector
    ADD COLUMN standard text NOT NULL DEFAULT '',  -- ConnectorType, as pushed
    ADD COLUMN format   text NOT NULL DEFAULT '';  -- ConnectorFormat, as pushed

-- One row for each EVSE that its CPO publishes; rewritten with its location, as its connectors are.
CREATE TABLE gateway.ocpi_public_evse (
    party_id      text           NOT NULL,
    location_key  text           NOT NULL,
    evse_uid_key  text           NOT NULL,
    location_id   text           NOT NULL,
    evse_uid      text           NOT NULL,
    evse_id       text,
    evse_key      text,                    -- upper case, separators removed
    status        text           NOT NULL,
    latitude      numeric(9, 7),           -- degrees, WGS 84; both null where the CPO sends none that is one
    longitude     numeric(10, 7),
    name          text,
    address       text,
    city          text,
    postal_code   text           NOT NULL,
    country       char(2)        NOT NULL, -- ISO 3166-1 alpha-2
    time_zone     text           NOT NULL, -- IANA; empty if the location names none that we know
    operator_name text,
    standards     text[]         NOT NULL, -- of its connectors, upper case
    max_power_w   bigint         NOT NULL, -- of its strongest connector; 0: unknown
    last_updated  timestamptz    NOT NULL, -- the CPO's own
    PRIMARY KEY (party_id, location_key, evse_uid_key),
    FOREIGN KEY (party_id, location_key) REFERENCES gateway.ocpi_location (party_id, location_key),
    CHECK ((latitude IS NULL) = (longitude IS NULL)),
    CHECK (latitude BETWEEN -90 AND 90),
    CHECK (longitude BETWEEN -180 AND 180)
);
CREATE INDEX ocpi_public_evse_place ON gateway.ocpi_public_evse (latitude, longitude);
CREATE INDEX ocpi_public_evse_key ON gateway.ocpi_public_evse (evse_key);
CREATE INDEX ocpi_public_evse_uid ON gateway.ocpi_public_evse (evse_uid_key);

-- From what is stored. A text with a NUL can't be read here: its location follows with its next push.
WITH location AS (
    SELECT party_id, location_key, version, last_updated, convert_from(body, 'UTF8')::json AS tree
    FROM gateway.ocpi_location
    WHERE position('\u0000' IN convert_from(body, 'UTF8')) = 0
), connector AS (
    SELECT l.party_id, l.location_key, lower(e.tree ->> 'uid') AS evse_uid_key,
           lower(c.tree ->> 'id') AS connector_key, c.tree
    FROM location AS l,
         json_array_elements(CASE json_typeof(l.tree -> 'evses') WHEN 'array' THEN l.tree -> 'evses' ELSE '[]' END)
             AS e (tree),
         json_array_elements(CASE json_typeof(e.tree -> 'connectors') WHEN 'array' THEN e.tree -> 'connectors'
                                                                      ELSE '[]' END) AS c (tree)
)
UPDATE gateway.ocpi_connector AS k
SET standard = CASE WHEN length(c.tree ->> 'standard') <= 40 THEN c.tree ->> 'standard' ELSE '' END,
    format = CASE WHEN length(c.tree ->> 'format') <= 40 THEN c.tree ->> 'format' ELSE '' END
FROM connector AS c
WHERE k.party_id = c.party_id AND k.location_key = c.location_key AND k.evse_uid_key = c.evse_uid_key
  AND k.connector_key = c.connector_key;

WITH location AS (
    SELECT party_id, location_key, version, last_updated, convert_from(body, 'UTF8')::json AS tree
    FROM gateway.ocpi_location
    WHERE position('\u0000' IN convert_from(body, 'UTF8')) = 0
), public AS (
    SELECT * FROM location WHERE version = '2.1.1' OR tree ->> 'publish' = 'true'
), evse AS (
    SELECT party_id, location_key, evse_uid_key, min(location_id) AS location_id, min(evse_uid) AS evse_uid,
           min(evse_id) AS evse_id, min(evse_key) AS evse_key, min(status) AS status, min(postal_code) AS postal_code,
           min(country) AS country, min(time_zone) AS time_zone, max(max_power_w) AS max_power_w,
           coalesce(array_agg(DISTINCT upper(standard) ORDER BY upper(standard)) FILTER (WHERE standard <> ''), '{}')
               AS standards
    FROM gateway.ocpi_connector
    GROUP BY party_id, location_key, evse_uid_key
), own AS (
    SELECT l.party_id, l.location_key, lower(e.tree ->> 'uid') AS evse_uid_key, e.tree
    FROM public AS l,
         json_array_elements(CASE json_typeof(l.tree -> 'evses') WHEN 'array' THEN l.tree -> 'evses' ELSE '[]' END)
             AS e (tree)
), placed AS (
    SELECT e.*, l.tree, l.last_updated,
           coalesce(o.tree #>> '{coordinates,latitude}', l.tree #>> '{coordinates,latitude}') AS latitude,
           coalesce(o.tree #>> '{coordinates,longitude}', l.tree #>> '{coordinates,longitude}') AS longitude
    FROM evse AS e
    JOIN public AS l USING (party_id, location_key)
    JOIN own AS o USING (party_id, location_key, evse_uid_key)
), checked AS (
    SELECT *, latitude ~ '^-?[0-9]{1,3}(\.[0-9]{1,20})?$' AND longitude ~ '^-?[0-9]{1,3}(\.[0-9]{1,20})?$' AS valid
    FROM placed
), located AS (
    SELECT *, CASE WHEN valid THEN latitude::numeric END AS north, CASE WHEN valid THEN longitude::numeric END AS east
    FROM checked
)
INSERT INTO gateway.ocpi_public_evse
    (party_id, location_key, evse_uid_key, location_id, evse_uid, evse_id, evse_key, status, latitude, longitude,
     name, address, city, postal_code, country, time_zone, operator_name, standards, max_power_w, last_updated)
SELECT party_id, location_key, evse_uid_key, location_id, evse_uid, evse_id, evse_key, status,
       CASE WHEN abs(north) <= 90 AND abs(east) <= 180 THEN north END,
       CASE WHEN abs(north) <= 90 AND abs(east) <= 180 THEN east END,
       nullif(left(tree ->> 'name', 255), ''), nullif(left(tree ->> 'address', 255), ''),
       nullif(left(tree ->> 'city', 255), ''), postal_code, country, time_zone,
       nullif(left(tree #>> '{operator,name}', 255), ''), standards, max_power_w, last_updated
FROM located
ON CONFLICT DO NOTHING;
