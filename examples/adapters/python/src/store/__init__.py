"""Sessions, streams, files, profiles and leases in tables of a database.

Every write is one batch, which begins by claiming the session for the write's epoch and does
nothing if that fails (`fence`). Only what a batch cannot tell takes a transaction: whether an
append repeats what is stored, and who has a lease.
"""
