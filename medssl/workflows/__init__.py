"""What the commands do: run a recipe, run a protocol, run the demonstration."""
