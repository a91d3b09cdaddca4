"""The front door: HTTP, partners, the PSP, the single capture and the notifications."""
