-- Double taps: the policy of a party, and the latest authorization of a payment method at an EVSE.

-- name: double_tap_policy^
SELECT within_s FROM gateway.double_tap_policy WHERE party_id = :party_id;

-- name: set_double_tap_policy!
INSERT INTO gateway.double_tap_policy (party_id, within_s) VALUES (:party_id, :within_s)
ON CONFLICT (party_id) DO UPDATE SET within_s = excluded.within_s;

-- name: recent_authorization^
SELECT authorization_id FROM gateway.recent_authorization
WHERE party_id = :party_id AND payment_method = :payment_method AND evse_id = upper(:evse_id);

-- name: delete_old_taps!
DELETE FROM gateway.recent_authorization WHERE authorized_at < :older_than;
