-- What each audit came to.

-- name: insert_run!
INSERT INTO gateway.audit_run (finished_at, result, checks) VALUES (:finished_at, :result, :checks);

-- name: latest_run^
SELECT finished_at, result, checks FROM gateway.audit_run ORDER BY id DESC LIMIT 1;
