-- Saved views of the console's lists.

-- name: lock_person$
SELECT id FROM gateway.person WHERE id = :person_id FOR NO KEY UPDATE;

-- name: put_view!
-- The same name again replaces the view.
INSERT INTO gateway.saved_view AS known (id, person_id, party_id, list, name, filters, shared, created_at)
VALUES (:id, :person_id, :party_id, :list, :name, :filters::jsonb, :shared, :now)
ON CONFLICT (person_id, list, name) DO UPDATE SET filters = excluded.filters, shared = excluded.shared;

-- name: views_of
-- A person's own, then those that others of the party share.
SELECT v.id, v.person_id, v.name, v.filters, v.shared, p.name AS owner FROM gateway.saved_view AS v
JOIN gateway.person AS p ON p.id = v.person_id
WHERE v.list = :list AND (v.person_id = :person_id OR (v.shared AND v.party_id = :party_id AND p.revoked_at IS NULL))
ORDER BY v.person_id <> :person_id, lower(v.name), v.id LIMIT :limit;

-- name: count_views$
SELECT count(*) FROM gateway.saved_view WHERE person_id = :person_id;

-- name: delete_view^
DELETE FROM gateway.saved_view WHERE id = :id AND person_id = :person_id RETURNING id;
