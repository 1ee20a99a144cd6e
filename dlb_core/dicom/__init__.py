"""DICOM in and out: archives, choice of series, conversion, segmentation and report objects."""
