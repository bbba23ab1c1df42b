"""The estimators: between the conventions of scikit-learn and the programs."""
