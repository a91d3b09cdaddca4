-- What was charged off-session beside a capture: few of many calls, looked up with every comparison of the PSP's lines.
CREATE INDEX psp_call_collected ON gateway.psp_call (finished_at) WHERE kind = 'collect' AND state = 'succeeded';
