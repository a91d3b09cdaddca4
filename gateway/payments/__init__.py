"""The single capture: its state machine, its phases, the requests to the PSP and the PSP port."""
