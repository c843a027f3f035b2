"""Small networks of the embedded suite: U-Net, EDM preconditioning, classifier, and how they are trained."""
