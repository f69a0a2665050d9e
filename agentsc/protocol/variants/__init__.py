"""Protocol variants, one file each."""
