"""Training-free solvers: they integrate the teacher along a grid."""
