"""Suffixes of recordings, for those who look for files and need no decoder."""

OF_LIBSNDFILE = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64"}
)
OF_PYAV = frozenset(
    {".m4a", ".m4b", ".aac", ".mp4", ".m4v", ".mov", ".3gp", ".webm", ".mkv", ".mka", ".wma", ".wmv", ".amr", ".ac3"}
)

SUFFIXES = OF_LIBSNDFILE | OF_PYAV
"""What a folder is searched for; a file named outright is tried whatever its suffix."""
