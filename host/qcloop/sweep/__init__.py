"""Many training runs: points of a sweep or of a study, run once each on cores, a cluster or boards."""
