"""PNG, JPEG and DICOM bytes to the array a network takes."""
