"""A finished case as DICOM objects: segmentation, measurement report, encapsulated PDF."""
