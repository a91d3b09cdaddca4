-- A batch is written by the transaction that writes its deltas and is never removed, and the audit compares the deltas
-- of each with its transfers. The key locked the batch's row once for each account.
ALTER TABLE clearing.account_delta DROP CONSTRAINT account_delta_batch_id_fkey;
