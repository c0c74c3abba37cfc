"""The command line: one file a verb; each parses, calls a room, prints."""
