"""What is decided from measurements: predicting latency, and picking within a budget."""
