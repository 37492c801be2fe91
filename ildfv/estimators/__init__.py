"""Estimators with scikit-learn's interface: Gaussian mixture, Fisher vectors, PCA and multivariate regression."""
