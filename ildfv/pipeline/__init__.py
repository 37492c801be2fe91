"""The steps of a study: prepare, folds, train, encode, regress, report, verify, export and demo."""
