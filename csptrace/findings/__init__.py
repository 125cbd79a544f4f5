"""What is wrong: from a change of the graph to a finding, and to its words."""
