"""What is wrong with a collection: its files, labels and folds, and recordings that stand in it twice.

`collection` runs all checks and decodes each clip once. `files` looks at files and samples, `labels` at labels and
folds. Recordings that sound the same are found in three steps: `landmarks` makes fingerprints of clips, `matching`
finds pairs of clips that share them, and `alignment` lays the waveforms of a pair over each other. `twins` judges what
was found, and `report` says it.
"""
