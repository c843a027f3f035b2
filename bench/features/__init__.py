"""Feature networks of image metrics: one file each, named by weights and preprocessing, loaded once per process."""
