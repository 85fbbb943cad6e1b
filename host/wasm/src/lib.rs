//! Components in the host: engine, cache, instance pools, grants, databases; the Store port over a persistence adapter.
