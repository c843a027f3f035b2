"""Reference statistics: mean and covariance of a data set's features, with all that must agree to compare with them."""
