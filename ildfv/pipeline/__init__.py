"""The commands on a workspace: prepare, folds, train, encode, regress, report, verify and demo."""
