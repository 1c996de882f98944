"""Results that others can load: bundles with their provenance."""
