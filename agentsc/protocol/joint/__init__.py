"""Planning for everybody at once, and the order that it leaves: see `order` for what a course is."""
