"""Watching a run: recordings, the picture, films and the live window."""
