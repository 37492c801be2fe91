"""Mixture, Fisher vectors, PCA and regression in scikit-learn's manner."""
