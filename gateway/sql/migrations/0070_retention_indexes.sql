-- outside a transaction
-- What the retention looks for once a day, in batches: only rows that still hold something, so that an index shrinks as
-- they are removed, and a batch reads no row twice. A batch is of one shard where the table has one.

CREATE INDEX CONCURRENTLY session_retained ON gateway.session (shard, (coalesce(ended_at, updated_at)))
    WHERE state IN ('cancelled', 'completed', 'cleared') AND (metadata <> '{}' OR session_ref IS NOT NULL);
CREATE INDEX CONCURRENTLY session_billing_record ON gateway.session (shard, ended_at)
    WHERE cdr IS NOT NULL AND cdr_blotted_at IS NULL AND state <> 'exception';
CREATE INDEX CONCURRENTLY payment_authorization_retained ON gateway.payment_authorization (shard, updated_at)
    WHERE state IN ('captured', 'voided', 'failed')
      AND (metadata <> '{}' OR receipt_email IS NOT NULL OR return_url IS NOT NULL OR customer IS NOT NULL
           OR payment_method IS NOT NULL OR save_consent IS NOT NULL);
CREATE INDEX CONCURRENTLY refund_retained ON gateway.refund (shard, finished_at) WHERE metadata <> '{}';
CREATE INDEX CONCURRENTLY dispute_retained ON gateway.dispute (shard, closed_at) WHERE evidence <> '{}';
CREATE INDEX CONCURRENTLY payment_method_retained ON gateway.payment_method (removed_at) WHERE detached_at IS NOT NULL;
CREATE INDEX CONCURRENTLY payment_method_setup_retained ON gateway.payment_method_setup (updated_at);
CREATE INDEX CONCURRENTLY ocpi_booking_retained ON gateway.ocpi_booking (ends_at);
CREATE INDEX CONCURRENTLY ocpi_cdr_retained ON gateway.ocpi_cdr (ended_at)
    WHERE blotted_at IS NULL AND status IN ('completed', 'rejected', 'credit');
CREATE INDEX CONCURRENTLY invoice_link_retained ON gateway.invoice_link (shard, created_at);
CREATE INDEX CONCURRENTLY driver_payment_retained ON gateway.driver_payment (closed_at);
CREATE INDEX CONCURRENTLY exception_retained ON gateway.exception (resolved_at) WHERE detail <> '';
