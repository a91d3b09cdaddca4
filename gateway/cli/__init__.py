"""One file per subcommand of `networkcore`; each parses its options and calls one service."""
