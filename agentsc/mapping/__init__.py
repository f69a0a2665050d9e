"""A map that nobody knew: agents upload what they see, a hub fuses it, fills in the rest, and tells what changes."""
