"""Two versions side by side: what was measured, what differs, and what another look at the same rows says."""
