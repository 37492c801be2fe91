"""encode, train, regress and report as a user means them: from workspace to workspace."""
