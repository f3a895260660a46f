"""What a user's pipeline may do otherwise than the spec says, one file a group."""
