"""Does pretraining help? Metrics, tables, figures and pictures."""
