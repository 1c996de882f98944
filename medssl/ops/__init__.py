"""Pure tensor functions without state."""
