-- What the PSP refuses for a mistake of ours.

-- name: report!
INSERT INTO gateway.psp_incident AS known (account, code, detail, count, first_at, last_at)
VALUES (:account::text, :code::text, :detail::text, :count::bigint, :now::timestamptz, :now::timestamptz)
ON CONFLICT (account, code) DO UPDATE
SET detail = excluded.detail, count = known.count + excluded.count,
    last_at = greatest(known.last_at, excluded.last_at);

-- name: exists$
SELECT EXISTS (SELECT 1 FROM gateway.psp_incident WHERE account = :account::text AND code = :code::text);

-- name: counts
SELECT code, sum(count)::bigint AS requests FROM gateway.psp_incident GROUP BY code ORDER BY code;

-- name: forget$
DELETE FROM gateway.psp_incident WHERE account = :account::text AND code = :code::text RETURNING true;
