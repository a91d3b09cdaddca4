"""ISO 20022 messages of the bank rail: payment files out, status reports and statements in.

Owns: the messages. Must not know: why money moves, where a file is, the database.
"""
