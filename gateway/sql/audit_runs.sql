-- What each audit came to, and what it compared.

-- name: insert_run!
INSERT INTO gateway.audit_run (began_at, finished_at, result, checks, daily, compared)
VALUES (:began_at, :finished_at, :result, :checks, :daily, :compared::jsonb);

-- name: latest_run^
SELECT began_at, finished_at, result, checks, daily, compared FROM gateway.audit_run ORDER BY id DESC LIMIT 1;

-- name: latest_run_of^
SELECT began_at, finished_at, result, checks, daily, compared FROM gateway.audit_run WHERE daily = :daily
ORDER BY id DESC LIMIT 1;
