-- What was given back before clearing: a handful among all captures, looked for with every comparison of the PSP's lines.
CREATE INDEX capture_left_out ON gateway.capture (lane, session_id) WHERE uncleared_minor > 0;
