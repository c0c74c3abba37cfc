"""Collections of labelled recordings: layouts, manifests, folds, stores."""
