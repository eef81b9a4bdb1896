"""What AWS must believe of the broker for its chains to work, printed, compared with the live roles, and tried out."""
