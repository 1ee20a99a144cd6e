"""Train a bundle: data, augmentation, losses, trainer."""
