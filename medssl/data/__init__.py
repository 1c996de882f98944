"""What is trained on: data lists, splits, sampling, volume stores."""
