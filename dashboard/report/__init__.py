"""The figures of the pages as one HTML file that needs nothing else."""
