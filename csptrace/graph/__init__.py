"""What is alive and whose child it is."""
