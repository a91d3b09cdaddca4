"""The single capture: state machine, phases, rails and the PSP port."""
