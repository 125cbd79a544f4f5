"""Call stacks: captured cheaply, put into words once, and whose code each frame is."""
