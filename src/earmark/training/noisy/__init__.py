"""What becomes of clips that a machine labelled: strategies, each a name in a recipe."""
