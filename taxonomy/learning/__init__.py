"""What people call things that a vocabulary has no word for: proposed, reviewed, and added to a copy of it."""
