"""DICOM segmentations, structure sets and series."""
