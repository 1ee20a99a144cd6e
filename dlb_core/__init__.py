"""DeepLesionBrain: multiple sclerosis lesion segmentation from T1w and FLAIR. Research use only."""

__version__ = "0.1.0"
