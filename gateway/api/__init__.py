"""The HTTP edge of the capture API: parse, one service call, map the result."""
