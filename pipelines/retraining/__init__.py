"""Training again on what was decided since: the data set, the lease that only one gets, and the steps."""
