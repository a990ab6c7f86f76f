"""Traffic for a running gateway: transactions with event times, and their labels, late."""
