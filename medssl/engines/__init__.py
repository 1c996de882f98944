"""The little that the MONAI trainer needs to run a method."""
