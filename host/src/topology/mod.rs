//! Threads, channels and shutdown: the way of a batch.
