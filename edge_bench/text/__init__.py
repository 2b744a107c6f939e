"""Text: how it becomes tokens and comes back from them, and what a network's answers are worth."""
