"""What is wrong with a packed bundle, before anyone else loads it."""
