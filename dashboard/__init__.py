"""The store in a browser. Reads only."""
