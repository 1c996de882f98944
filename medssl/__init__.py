"""Self-supervised pretraining and few-label segmentation of medical images, built on MONAI."""
