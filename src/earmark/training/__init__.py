"""Learning taggers: recipes, networks, the loop over folds, export. Needs the extra `train`."""
