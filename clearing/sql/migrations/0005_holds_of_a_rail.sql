-- A hold of one rail: it holds a party back only while the party is paid over that rail. Null: whatever the rail.
-- Such a hold is lifted by whoever placed it, the rail itself, and by nobody else.
ALTER TABLE clearing.payout_hold ADD COLUMN rail text CHECK (rail IN ('bank', 'psp'));
