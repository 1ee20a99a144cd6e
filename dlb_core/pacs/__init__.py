"""Talk to picture archives by DICOMweb: find, fetch and store."""
