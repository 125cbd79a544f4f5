"""All that a fictitious package says of a fictitious provider's API."""
