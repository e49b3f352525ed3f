"""What is measured: data sets, artifacts, folders of images, and peers as they ask to be run."""
