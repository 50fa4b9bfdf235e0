"""What can be asked of a spread: who began it, whom it reached unseen, what stepping in would do, whom to choose."""
